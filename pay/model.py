"""Tables of the pay service: what orders owe, tries to pay it, what providers said, and the money that they took.

Times in ms since the epoch, UTC; money in integer minor units. Nothing about money is ever overwritten: amounts are
what events said. Rows are locked in one order by everybody: headers, payments, attempts, charges, events, each by
ascending keys.
"""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.mysql import MEDIUMBLOB

from common.errors import Invalid
from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE, lease_table
from halfmessage.participant.model import RESERVATIONS, header_table
from halfmessage.tx.record import record_table

metadata = MetaData()

CLAIMED_FOR: Final = 20.0
"""Seconds that work which a process has claimed is left alone by others: what a kill in the middle of it costs.

A claim that ends too early costs a question, never money: refunds have a key at the provider.
"""


class PaymentState(StrEnum):
    """Legal moves, each a compare-and-set.

    open → succeeded (money of its amount came first), open → closed (its order was closed), succeeded → refunding (its
    order was closed, or an admin sends it back), closed → refunding (money came late), refunding → refunded (all of it
    went back), refunded → refunding (money came later still). Nothing leads back to `open`, nor to `succeeded`.
    """

    OPEN = "open"
    CLOSED = "closed"
    SUCCEEDED = "succeeded"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class AttemptState(StrEnum):
    """Legal moves: open → over (the provider says that it failed, expired, or took the money)."""

    OPEN = "open"
    OVER = "over"


class ChargeState(StrEnum):
    """Legal moves: none → kept → refunding, none → refunding, refunding → refunded, refunding ⇄ refused → refunded.

    And refunded → refunding, refused: a refund that was done failed since, as a provider that is asked says.
    `kept`: it pays its order; of an order one at most, which is a unique key. `refused`: the provider said that it does
    not send it back; it is asked again, slowly. Of a charge whose refund is heard of first: none → refunded.
    """

    KEPT = "kept"
    REFUNDING = "refunding"
    REFUSED = "refused"
    REFUNDED = "refunded"


class Via(StrEnum):
    """How we heard of an event."""

    CALLBACK = "callback"
    POLL = "poll"
    ANSWER = "answer"


class EventEffect(StrEnum):
    """What an event did.

    `paid`: its money is kept, and the order is told. `refunding`: its money goes back. `known`: what it says was known.
    `ended`: a try is over. `refunded`, `refund-refused`: of a charge; of one that was refunded before, the provider is
    asked. `none`: it means nothing to us, or is about other money than is known (`reason` tells).
    """

    PAID = "paid"
    REFUNDING = "refunding"
    KNOWN = "known"
    ENDED = "ended"
    REFUNDED = "refunded"
    REFUND_REFUSED = "refund-refused"
    NONE = "none"


class Reason(StrEnum):
    """Why a charge goes back."""

    LATE = "late"
    DOUBLE = "double"
    OTHER_AMOUNT = "other-amount"
    OTHER_CURRENCY = "other-currency"
    UNKNOWN_ORDER = "unknown-order"
    ORDER_CLOSED = "order-closed"
    BY_ADMIN = "by-admin"
    BY_PROVIDER = "by-provider"


class UnknownProvider(Invalid):
    """Orders can't be paid through this provider."""

    slug, title = "unknown-provider", "Unknown provider"


class NothingToRefund(Conflict):
    """The payment has not succeeded: there is no money to send back."""

    slug, title = "nothing-to-refund", "Nothing to refund"


RAW = LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb")
"""A provider's bytes: more than the 64 KiB that a BLOB of MySQL's holds."""

PROVIDER = String(64)
TEXT = String(255)
"""A provider's words, cut to that length."""
LONGEST_TEXT = 255
LONGEST_NAME: Final = 128
CHARGE = String(LONGEST_NAME)

reservations = header_table(metadata)

payments = Table(
    "payments",
    metadata,
    Column("order_id", SNOWFLAKE, ForeignKey(f"{RESERVATIONS}.order_id"), primary_key=True, autoincrement=False),
    Column("user_id", String(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(9), nullable=False),
    Column("provider", PROVIDER),  # of the charge that is kept, or was
    Column("known", Boolean, nullable=False, server_default=false()),  # the order service has said that it is paid
    Column("tellings", Integer, nullable=False, server_default=text("0")),  # beside the transactional message
    Column("tell_at", BigInteger),  # succeeded and not known: when it is told again
    Column("expires_at", BigInteger, nullable=False),  # of the order, unless it is paid
    Column("created_at", BigInteger, nullable=False),
    Column("succeeded_at", BigInteger),
    Column("closed_at", BigInteger),
    CheckConstraint("amount > 0", name="payments_amount_positive"),
    Index("payments_to_tell", "tell_at"),
    Index("payments_by_state", "state", "order_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("order_id", SNOWFLAKE, ForeignKey("payments.order_id"), nullable=False),
    Column("provider", PROVIDER, nullable=False),
    Column("scenario", String(64)),
    Column("reference", TEXT),  # the provider's name of it; none: it is not known whether the provider heard of it
    Column("pay_url", String(4096)),
    Column("state", String(4), nullable=False),
    Column("refusal", TEXT),
    Column("to_close", Boolean, nullable=False, server_default=false()),  # at the provider, before it is asked next
    Column("polls", Integer, nullable=False, server_default=text("0")),
    Column("next_poll_at", BigInteger),  # none: it is asked no more
    Column("asked_until", BigInteger),  # none: as long as it is open
    Column("created_at", BigInteger, nullable=False),
    Index("attempts_of_order", "order_id"),
    Index("attempts_by_reference", "provider", "reference"),
    Index("attempts_to_poll", "state", "next_poll_at"),
)

payment_events = Table(
    "payment_events",
    metadata,
    Column("provider", PROVIDER, primary_key=True),
    Column("event_id", String(128), primary_key=True),
    Column("order_id", BigInteger),  # as the provider says
    Column("reference", TEXT),
    Column("charge_id", CHARGE),
    Column("kind", String(16), nullable=False),
    Column("amount", BigInteger),
    Column("currency", String(3)),
    Column("via", String(8), nullable=False),
    Column("raw", RAW, nullable=False),  # as it came
    Column("received_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("handle_at", BigInteger),  # not handled: when any process takes it up
    Column("handled_at", BigInteger),
    Column("effect", String(16)),
    Column("reason", TEXT),  # ours where money goes back, else the provider's words
    Column("tx_id", BigInteger),  # of the message that told the order service
    Index("payment_events_of_order", "order_id", "received_at"),
    Index("payment_events_of_charge", "provider", "charge_id"),
    Index("payment_events_to_handle", "handle_at"),
)

charges = Table(
    "charges",
    metadata,
    Column("provider", PROVIDER, primary_key=True),
    Column("charge_id", CHARGE, primary_key=True),
    Column("order_id", BigInteger),  # none: the provider named none
    Column("kept_for", BigInteger),  # the order, as long as it is kept
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(9), nullable=False),
    Column("reason", String(16)),
    Column("note", TEXT),  # an admin's words
    Column("refund_id", CHARGE),
    Column("refusal", TEXT),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("next_try_at", BigInteger),  # refunding, or refused: when the provider is asked
    Column("taken_at", BigInteger, nullable=False),
    Column("refund_since", BigInteger),
    Column("refunded_at", BigInteger),  # and perhaps failed since: then it is not the last word
    UniqueConstraint("kept_for", name="charges_kept_once"),
    CheckConstraint("(state = 'kept') = (kept_for IS NOT NULL)", name="charges_kept_for_an_order"),
    Index("charges_of_order", "order_id", "taken_at"),
    Index("charges_to_refund", "next_try_at"),
    Index("charges_by_state", "state", "refund_since"),
)

transaction_records = record_table(metadata)
worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
idempotency_keys = key_table(metadata)


def told(table: Table) -> list[Column[Any]]:
    """Return a table's columns, but for what is large and never told."""
    return [column for column in table.c if not isinstance(column.type, LargeBinary)]


def cut(words: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """Return a provider's words as long as a column has room for, without halves of characters, which none takes."""
    return None if words is None else words[:longest].encode("utf-8", "replace").decode()
