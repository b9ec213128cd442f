"""The tables in your database. Times are ms since the epoch, UTC.

`contrib/migrations` makes them; a test compares both. Without Alembic: `METADATA.create_all(engine)`, once.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from halfmessage.ids import SNOWFLAKE, lease_table
from halfmessage.saga.model import barrier_table, saga_tables
from halfmessage.tx.record import record_table

METADATA = MetaData()
_BODY = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")  # their TEXT has 64 KiB
RECORDS = record_table(METADATA, "halfmessage_records")
LEASES = lease_table(METADATA, "halfmessage_leases")
SAGAS = saga_tables(METADATA, "halfmessage_sagas")
BARRIER = barrier_table(METADATA, "halfmessage_barrier")

INBOX = Table(
    "halfmessage_inbox",
    METADATA,
    Column("digest", String(64), primary_key=True),  # of the rest: a collation may hold two keys for the same
    Column("consumer_group", String(64), nullable=False),
    Column("topic", String(64), nullable=False),
    Column("once_key", String(255), nullable=False),  # its beginning, for people
    Column("handled_at", BigInteger, nullable=False, index=True),
)

OUTBOX = Table(
    "halfmessage_outbox",
    METADATA,
    Column("id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("topic", String(64), nullable=False),
    Column("message_key", String(128), nullable=False, index=True),
    Column("body", _BODY, nullable=False),
    Column("born_at", BigInteger, nullable=False),
    Index("ix_halfmessage_outbox_topic", "topic", "id"),
)
SUBSCRIPTIONS = Table(
    "halfmessage_subscriptions",
    METADATA,
    Column("topic", String(64), primary_key=True),
    Column("consumer_group", String(64), primary_key=True),
)
DELIVERIES = Table(
    "halfmessage_deliveries",
    METADATA,
    Column("message_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("consumer_group", String(64), primary_key=True),
    Column("state", String(7), nullable=False),  # pending, done, dead
    Column("visible_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lease", String(32)),  # the holder of this token may answer; a new claim makes a new token
    Index("ix_halfmessage_deliveries_due", "consumer_group", "state", "visible_at"),
)
