"""What a message has as its key, where that is not what somebody has at hand."""

from contextlib import closing

from sqlalchemy import select

from common import schema_version
from common.db import Database
from common.errors import SchemaMismatch
from common.schema import parse_id
from ops.deployment import Deployment
from ops.errors import NoDeployment
from order.model import orders


def purchase_of(deployment: Deployment, key: str) -> str | None:
    """Return the purchase in a flash sale that the order with the id `key` is of; None: it is of none.

    None also where the order service's database is not there, or of another release. Raise `Unavailable`.
    """
    order_id = parse_id(key)
    if order_id is None:
        return None
    try:
        url = deployment.database_url("order")
    except NoDeployment:
        return None
    with closing(Database(url, pool_size=1)) as database:
        try:
            schema_version.require("order", database)
        except SchemaMismatch:
            return None
        with database.read() as connection:
            found = connection.scalar(select(orders.c.purchase_id).where(orders.c.order_id == order_id))
    return None if found is None else str(found)
