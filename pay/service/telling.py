"""A success that the order service has not confirmed is told again: the broker may have given up on its message."""

import structlog
from sqlalchemy import Connection, update

from common.db import Database
from common.registry import PAYMENT_TOPIC
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from halfmessage.ids import IdSource
from halfmessage.mq.port import Producer
from pay.model import payments
from pay.service.claims import LONGEST, Claim, Claims, distance
from pay.service.events import payment_event

log = structlog.get_logger()


class Telling:
    """Tells what is due: payments that succeeded so long ago, and are not known."""

    def __init__(self, database: Database, producer: Producer, ids: IdSource, first: float) -> None:
        """Take what telling needs; `first`: seconds from one telling to the second, of which each later takes twice."""
        self._database = database
        self._producer = producer
        self._ids = ids
        self._first = first
        self._due = Claims(database, payments.c.tell_at, longest=max(first, LONGEST))

    def run(self) -> int:
        """Tell what is due again, by one message; return how many payments. Raise what database and broker raise."""
        claim = self._due.take(VALUES)
        if not claim.rows:
            return 0
        with self._database.read() as connection:
            told = payment_event(connection, self._ids.next(), {row.order_id: row.provider for row in claim.rows})
        self._producer.send(told.to_message(PAYMENT_TOPIC))
        log.info("payments told again", order_ids=[str(order_id) for order_id in told.order_ids])
        self._database.transact(lambda connection: self._write(connection, claim))
        return len(claim.rows)

    def _write(self, connection: Connection, claim: Claim) -> None:
        for row in sorted(claim.rows, key=lambda row: row.order_id):
            # Known, or sent back meanwhile: then it has no time any more
            is_ours = (payments.c.order_id == row.order_id) & (payments.c.tell_at == claim.until)
            again = now_ms() + distance(self._first, max(self._first, LONGEST), row.tellings + 1)
            connection.execute(update(payments).where(is_ours).values(tellings=row.tellings + 1, tell_at=again))
