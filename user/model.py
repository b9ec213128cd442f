"""Tables of the user service, its bounds, and what it refuses. Times in ms since the epoch, UTC."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, text

from common.errors import Forbidden, OrdersError, TooManyRequests, Unauthenticated
from common.heartbeat import heartbeat_table
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE, lease_table

metadata = MetaData()

NAME_PATTERN: Final = "^[a-z0-9._-]{3,64}$"
SHORTEST_PASSWORD: Final = 10  # characters
LONGEST_PASSWORD: Final = 256
ADDRESS: Final = 64  # characters; an IPv6 network has 43 at most

users = Table(
    "users",
    metadata,
    Column("user_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("is_admin", Boolean, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("password_changed_at", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, nullable=False),
    Column("family_hash", String(64), nullable=False, unique=True),
    Column("token_hash", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("refreshed_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("sessions_of_user", "user_id", "session_id"),
    Index("sessions_by_end", "expires_at"),
)
"""Log-ins that may be refreshed, each a family of refresh tokens. A token is `<family>.<its own>`, two random values of
which only hashes are kept: who shows a family's first half and not its newest second half shows a token again, and
the row is deleted, which ends the family."""

attempts = Table(
    "attempts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("place", String(ADDRESS), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Index("attempts_by_age", "last_at"),
)
"""Tries to log in under a name since the last that succeeded; of names that are no user's too, or they would be told
apart. `place`: the address, where its user has logged in from there before, so that others can't delay it; else ''."""

log_ins = Table(
    "log_ins",
    metadata,
    Column("log_in_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger),
    Column("name", String(64), nullable=False),
    Column("address", String(ADDRESS), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("log_ins_of_user", "user_id", "address", "outcome"),
    Index("log_ins_by_age", "at"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kid", String(43), nullable=False),
    Column("private_key", String(43), nullable=False),
    Column("public_key", String(43), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("signs_from", BigInteger, nullable=False),
)
"""Ed25519 keys (32 bytes in base64url), all published; the last one whose `signs_from` has come signs."""

worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)


class NameTaken(Conflict):
    """Another user has this name."""

    slug, title = "name-taken", "Name taken"


class WrongPassword(Unauthenticated):
    """The name or the password is wrong."""


class WrongRefreshToken(Unauthenticated):
    """This refresh token is not valid, or not any more: log in again."""

    reused: bool = False
    """It was good once: its log-in was ended. Who shows it is not told, and the metrics are."""


class NotTheirPassword(Forbidden):
    """The password is not this user's."""

    slug, title = "wrong-password", "Wrong password"


class BreachedPassword(OrdersError):
    """This password is in a list of known ones, or is the name: choose another."""

    status, slug, title = 422, "breached-password", "Known password"


class LogInDelayed(TooManyRequests):
    """After several wrong passwords the next one may be tried when Retry-After says so."""

    def __init__(self, seconds: int = 1) -> None:
        """Take the seconds to wait."""
        super().__init__()
        self.retry_after = seconds
