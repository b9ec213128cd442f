"""The outbox in SQL that SQLite, MySQL, MariaDB and PostgreSQL understand.

A message is one row, with one delivery for each group that has ever subscribed to its topic. A group that subscribes
while a message's transaction is open sees it not, and is not seen: `catch_up` finds what was missed that way.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from halfmessage.clock import now_ms
from halfmessage.ids import first_of
from halfmessage.mq.port import BrokerOptions, Delivery, Message, Verdict
from halfmessage.transactional.tables import DELIVERIES, OUTBOX, SUBSCRIPTIONS
from halfmessage.tx.opened import TX_ID

PENDING, DONE, DEAD = "pending", "done", "dead"
LONGEST_TRANSACTION = 600_000
"""ms: what took longer to commit, `catch_up` finds at a consumer's next start only."""
MOST_CAUGHT_UP = 500  # rows of one transaction


def add(connection: Connection, message_id: int, message: Message) -> None:
    """Write a message and its deliveries, as part of a local transaction. Its only key is kept."""
    now = now_ms()
    row = {"id": message_id, "topic": message.topic, "message_key": message.keys[0], "body": message.body.decode()}
    connection.execute(_MESSAGE, row | {"born_at": now})
    connection.execute(_ITS_DELIVERIES, {"number": message_id, "now": now, "told": message.topic})


_NEW = ["message_id", "consumer_group", "state", "visible_at", "attempts"]
# Made once, for each message: to make them takes longer than to run them
_MESSAGE = insert(OUTBOX)
_ITS_DELIVERIES = insert(DELIVERIES).from_select(
    _NEW,
    select(
        bindparam("number", type_=OUTBOX.c.id.type),
        SUBSCRIPTIONS.c.consumer_group,
        literal(PENDING),
        bindparam("now", type_=DELIVERIES.c.visible_at.type),
        literal(0),
    ).where(SUBSCRIPTIONS.c.topic == bindparam("told", type_=SUBSCRIPTIONS.c.topic.type)),
)


def subscribe(connection: Connection, group: str, topic: str) -> None:
    """Have a group given what is sent to a topic from now on; once is enough."""
    own = and_(SUBSCRIPTIONS.c.topic == topic, SUBSCRIPTIONS.c.consumer_group == group)
    if connection.scalar(select(SUBSCRIPTIONS.c.topic).where(own)) is not None:
        return
    with suppress(IntegrityError), connection.begin_nested():  # another process may be first
        connection.execute(insert(SUBSCRIPTIONS).values(topic=topic, consumer_group=group))


def catch_up(connection: Connection, group: str, topic: str, since: int) -> int:
    """Write deliveries of messages born since then (ms) that the group has none of; return how many, a bounded part."""
    given = exists().where(and_(DELIVERIES.c.message_id == OUTBOX.c.id, DELIVERIES.c.consumer_group == group))
    missed = connection.scalars(
        select(OUTBOX.c.id)
        .where(and_(OUTBOX.c.topic == topic, OUTBOX.c.id >= first_of(since), ~given))
        .order_by(OUTBOX.c.id)
        .limit(MOST_CAUGHT_UP)
    ).all()
    if missed:
        now = now_ms()
        rows = [dict(zip(_NEW, (number, group, PENDING, now, 0), strict=True)) for number in missed]
        connection.execute(insert(DELIVERIES), rows)
    return len(missed)


def is_due(connection: Connection, group: str) -> bool:
    """Whether `claim` might find something."""
    due = _due(group, now_ms())
    return connection.scalar(select(DELIVERIES.c.message_id).where(due).limit(1)) is not None


def _due(group: str, now: int) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.consumer_group == group, DELIVERIES.c.state == PENDING, DELIVERIES.c.visible_at <= now)


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that one consumer holds until their lease runs out."""

    group: str
    lease: str
    deliveries: tuple[Delivery, ...]


def claim(connection: Connection, group: str, topic: str, batch: int, options: BrokerOptions) -> Claim:
    """Take up to `batch` deliveries that are due, hidden from others for `invisible_for`; one more attempt of each.

    Those whose last attempt ended without a verdict (its process died over them) are dead.
    """
    now, lease = now_ms(), uuid.uuid4().hex
    due = _due(group, now)
    found = connection.execute(
        select(DELIVERIES.c.message_id, DELIVERIES.c.attempts)
        .join(OUTBOX, OUTBOX.c.id == DELIVERIES.c.message_id)
        .where(and_(due, OUTBOX.c.topic == topic))
        .order_by(DELIVERIES.c.visible_at, DELIVERIES.c.message_id)
        .limit(batch)
    ).all()
    spent = [number for number, attempts in found if attempts >= options.max_deliveries]
    if spent:
        dead = and_(due, DELIVERIES.c.message_id.in_(spent), DELIVERIES.c.attempts >= options.max_deliveries)
        connection.execute(update(DELIVERIES).where(dead).values(state=DEAD, visible_at=now, lease=None))
    wanted = [number for number, attempts in found if attempts < options.max_deliveries]
    if not wanted:
        return Claim(group, lease, ())
    connection.execute(
        update(DELIVERIES)
        .where(and_(due, DELIVERIES.c.message_id.in_(wanted)))  # what another one took meanwhile is not due any more
        .values(lease=lease, visible_at=now + _ms(options.invisible_for), attempts=DELIVERIES.c.attempts + 1)
    )
    rows = connection.execute(
        select(OUTBOX, DELIVERIES.c.attempts)
        .join(DELIVERIES, OUTBOX.c.id == DELIVERIES.c.message_id)
        .where(and_(DELIVERIES.c.consumer_group == group, DELIVERIES.c.lease == lease))
        .where(OUTBOX.c.id.in_(wanted))
        .order_by(OUTBOX.c.id)
    )
    deliveries = [
        Delivery(
            str(row.id),
            Message(row.topic, row.body.encode(), keys=(row.message_key,), properties={TX_ID: str(row.id)}),
            row.attempts,
            row.born_at,
        )
        for row in rows
    ]
    return Claim(group, lease, tuple(deliveries))


def settle(connection: Connection, taken: Claim, verdicts: Sequence[Verdict], options: BrokerOptions) -> None:
    """Write what became of a claim; what another one has claimed since is left alone."""
    now = now_ms()
    rows = []
    for delivery, verdict in zip(taken.deliveries, verdicts, strict=True):
        pause = min(options.retry_first_after * 2.0 ** min(delivery.attempt - 1, 30), options.retry_longest)
        state = DONE if verdict is Verdict.ACK else DEAD if delivery.attempt >= options.max_deliveries else PENDING
        visible_at = now + _ms(pause) if state == PENDING else now
        rows.append({"number": int(delivery.message_id), "new_state": state, "then": visible_at})
    held = and_(
        DELIVERIES.c.message_id == bindparam("number"),
        DELIVERIES.c.consumer_group == taken.group,
        DELIVERIES.c.lease == taken.lease,
    )
    connection.execute(
        update(DELIVERIES).where(held).values(state=bindparam("new_state"), visible_at=bindparam("then"), lease=None),
        rows,
    )


def extend(connection: Connection, taken: Claim, options: BrokerOptions) -> None:
    """Hide a claim from others for another `invisible_for`."""
    held = and_(DELIVERIES.c.consumer_group == taken.group, DELIVERIES.c.lease == taken.lease)
    numbers = [int(each.message_id) for each in taken.deliveries]
    connection.execute(
        update(DELIVERIES)
        .where(and_(held, DELIVERIES.c.message_id.in_(numbers)))
        .values(visible_at=now_ms() + _ms(options.invisible_for))
    )


def purge(connection: Connection, retention: float, limit: int) -> int:
    """Delete up to `limit` messages older than `retention` (seconds) that no group has before it or dead; how many."""
    before = now_ms() - _ms(retention)
    own = DELIVERIES.c.message_id == OUTBOX.c.id
    open_ = exists().where(and_(own, DELIVERIES.c.state != DONE))
    old = connection.scalars(
        select(OUTBOX.c.id).where(and_(OUTBOX.c.id < first_of(before), ~open_)).order_by(OUTBOX.c.id).limit(limit)
    ).all()
    connection.execute(delete(DELIVERIES).where(DELIVERIES.c.message_id.in_(old)))
    connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(old)))
    return len(old)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
