"""The sandbox provider's own books: who was asked for money, what was taken, what went back, and what is still to tell.

Times in ms since the epoch, UTC; money in integer minor units.
"""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from common.heartbeat import heartbeat_table
from halfmessage.ids import SNOWFLAKE, lease_table

metadata = MetaData()


class SessionState(StrEnum):
    """Legal moves: open → paid | declined | closed; closed → paid, by a payment that was under way."""

    OPEN = "open"
    PAID = "paid"
    DECLINED = "declined"
    CLOSED = "closed"


class RefundState(StrEnum):
    """Legal moves: pending → done; refused → pending | done, as providers do at times."""

    DONE = "done"
    PENDING = "pending"
    REFUSED = "refused"


class EventKind(StrEnum):
    """What happened, in the words of callbacks."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"
    REFUND_REFUSED = "refund-refused"


class CallbackState(StrEnum):
    """Legal moves: waiting → sent | given-up."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given-up"


sessions = Table(  # one asking for money, begun once for each attempt of the merchant's
    "sessions",
    metadata,
    Column("session_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("reference", String(64), nullable=False),  # can't be guessed: it is the address of the page
    Column("attempt_id", BigInteger, nullable=False),
    Column("payment_id", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("callback_url", String(255), nullable=False),
    Column("scenario", String(32), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", String(255)),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("attempt_id", name="sessions_attempt"),
    UniqueConstraint("reference", name="sessions_reference"),
    CheckConstraint("amount > 0", name="sessions_amount_positive"),
)

charges = Table(  # money that was taken; `refund_id`: the one refund that may send it back
    "charges",
    metadata,
    Column("charge_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("session_id", SNOWFLAKE, ForeignKey("sessions.session_id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("refund_id", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Index("charges_by_session", "session_id"),
    CheckConstraint("amount > 0", name="charges_amount_positive"),
)

refunds = Table(  # each asking for a refund, refused ones too, so that a second one of a charge can be seen
    "refunds",
    metadata,
    Column("refund_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("charge_id", SNOWFLAKE, ForeignKey("charges.charge_id"), nullable=False),
    Column("refund_key", String(255), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", String(255)),
    Column("asked", BigInteger, nullable=False),  # how often, by the same key
    Column("created_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    UniqueConstraint("refund_key", name="refunds_key"),
    Index("refunds_by_charge", "charge_id"),
)

events = Table(  # what there is to say of a session
    "events",
    metadata,
    Column("event_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("session_id", SNOWFLAKE, ForeignKey("sessions.session_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("charge_id", BigInteger),
    Column("refund_id", BigInteger),
    Column("amount", BigInteger),
    Column("currency", String(3)),
    Column("reason", String(255)),
    Column("created_at", BigInteger, nullable=False),
    Index("events_by_session", "session_id"),
)

callbacks = Table(  # one sending of an event; `held`: until a later one was sent, or it is due
    "callbacks",
    metadata,
    Column("callback_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("event_id", SNOWFLAKE, ForeignKey("events.event_id"), nullable=False),
    Column("state", String(8), nullable=False),
    Column("held", Boolean, nullable=False, server_default=false()),
    Column("due_at", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False, server_default=text("0")),
    Column("answer", String(255)),
    Index("callbacks_due", "state", "due_at"),
    Index("callbacks_by_event", "event_id"),
)

plans = Table(  # what the provider will do later: take the money of a session, or do a refund
    "plans",
    metadata,
    Column("plan_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("session_id", SNOWFLAKE, ForeignKey("sessions.session_id"), nullable=False),
    Column("refund_id", BigInteger),
    Column("due_at", BigInteger, nullable=False),
    Index("plans_due", "due_at"),
)

faults = Table(  # `chance`: of a million; `drawn`: how often it might have struck, since it was set
    "faults",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("chance", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("longest", BigInteger, nullable=False),  # ms that it may delay something
    Column("drawn", BigInteger, nullable=False, server_default=text("0")),
    Column("struck", BigInteger, nullable=False, server_default=text("0")),
)

worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
