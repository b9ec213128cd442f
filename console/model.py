"""The console's only table of its own: what people did through it.

Times in ms since the epoch, UTC.
"""

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table

from common.heartbeat import heartbeat_table
from halfmessage.ids import SNOWFLAKE, lease_table

metadata = MetaData()

actions = (
    Table(  # `what`: the id of the order, message …; `effect_at`: when the effect was seen; `batch`: of which form
        "actions",
        metadata,
        Column("action_id", SNOWFLAKE, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("who", String(64), nullable=False),
        Column("action", String(32), nullable=False),
        Column("what", String(128), nullable=False),
        Column("why", String(255), nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("detail", String(1024), nullable=False),
        Column("effect_at", BigInteger),
        Column("batch", BigInteger),
        Index("actions_once_for_each_form", "batch", "what", unique=True),
        Index("actions_of_a_thing", "what", "action_id"),
        Index("actions_by_age", "at"),
    )
)

worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
