"""Looks at the outbox, and sends dead messages again."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select, update

from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import MessageNotFound
from halfmessage.mq.port import Backlog, BrokerStats, GroupView, Message, MessageView, State
from halfmessage.transactional.outbox.rows import DEAD, DONE, PENDING
from halfmessage.transactional.tables import DELIVERIES, OUTBOX, SUBSCRIPTIONS
from halfmessage.tx.opened import TX_ID


class OutboxConsole:
    """Implements `halfmessage.transactional.running.Console` on the tables. Nothing there is half or parked."""

    def __init__(self, database: Transactor) -> None:
        """Take where the tables are."""
        self._database = database

    def find(self, *, key: str | None = None, state: State | None = None, limit: int = 100) -> list[MessageView]:
        """Return matching messages, newest first; by state only `DEAD` ones. Raise `DatabaseUnavailable`."""
        wanted: list[ColumnElement[bool]] = []
        if key is not None:
            wanted.append(OUTBOX.c.message_key == key)
        if state is not None:
            dead = select(DELIVERIES.c.message_id).where(DELIVERIES.c.state == DEAD)
            wanted.append(OUTBOX.c.id.in_(dead) if state is State.DEAD else OUTBOX.c.id < 0)
        with self._database.read(snapshot=True) as connection:
            found = connection.execute(
                select(OUTBOX).where(and_(True, *wanted)).order_by(OUTBOX.c.id.desc()).limit(limit)
            ).all()
            ids = [row.id for row in found]
            given = connection.execute(select(DELIVERIES).where(DELIVERIES.c.message_id.in_(ids))).all()
        now = now_ms()
        groups: dict[int, list[GroupView]] = {number: [] for number in ids}
        for row in given:
            done_at = row.visible_at if row.state == DONE else None
            groups[row.message_id].append(
                GroupView(row.consumer_group, _state(row, now), row.attempts, row.visible_at, done_at)
            )
        return [_view(row, tuple(groups[row.id])) for row in found]

    def stats(self) -> BrokerStats:
        """Count dead messages and pending deliveries."""
        counted = (
            select(DELIVERIES.c.state, func.count()).where(DELIVERIES.c.state != DONE).group_by(DELIVERIES.c.state)
        )
        with self._database.read() as connection:
            count = {state: int(many) for state, many in connection.execute(counted)}
        return BrokerStats(
            half=0, oldest_half_age=0.0, parked=0, dead=count.get(DEAD, 0), pending=count.get(PENDING, 0)
        )

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it, by topic and group."""
        now = now_ms()
        own = and_(
            DELIVERIES.c.message_id == OUTBOX.c.id,
            DELIVERIES.c.consumer_group == SUBSCRIPTIONS.c.consumer_group,
            DELIVERIES.c.state == PENDING,
        )
        waiting = func.sum(case((DELIVERIES.c.visible_at <= now, 1), else_=0))
        query = (
            select(
                SUBSCRIPTIONS.c.consumer_group,
                SUBSCRIPTIONS.c.topic,
                waiting,
                func.count(DELIVERIES.c.message_id),
                func.min(case((DELIVERIES.c.message_id.is_not(None), OUTBOX.c.born_at))),
            )
            .select_from(SUBSCRIPTIONS)
            .outerjoin(OUTBOX, OUTBOX.c.topic == SUBSCRIPTIONS.c.topic)
            .outerjoin(DELIVERIES, own)
            .group_by(SUBSCRIPTIONS.c.topic, SUBSCRIPTIONS.c.consumer_group)
            .order_by(SUBSCRIPTIONS.c.topic, SUBSCRIPTIONS.c.consumer_group)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Backlog(group, topic, int(due or 0), int(all_) - int(due or 0), max(0.0, (now - (since or now)) / 1000))
            for group, topic, due, all_, since in rows
        ]

    def resend(self, message_id: str) -> None:
        """Give a dead message again to the groups where it is dead, attempts counted anew. Raise `MessageNotFound`."""
        number = int(message_id) if message_id.isdecimal() else -1
        dead = and_(DELIVERIES.c.message_id == number, DELIVERIES.c.state == DEAD)
        again = update(DELIVERIES).where(dead).values(state=PENDING, attempts=0, visible_at=now_ms(), lease=None)
        if not self._database.transact(lambda connection: connection.execute(again).rowcount):
            raise MessageNotFound

    def resume(self, message_id: str) -> None:
        """Raise `MessageNotFound`: no row is ever checked back."""
        raise MessageNotFound(f"{message_id} is not parked: an outbox has no check-back.")


def _state(row: Any, now: int) -> State:
    if row.state != PENDING:
        return State.DONE if row.state == DONE else State.DEAD
    if row.visible_at <= now:
        return State.READY
    return State.IN_FLIGHT if row.lease else State.DELAYED


_ATTENTION = (State.DEAD, State.IN_FLIGHT, State.READY, State.DELAYED, State.DONE)


def _view(row: Any, groups: tuple[GroupView, ...]) -> MessageView:
    states = {group.state for group in groups}
    return MessageView(
        message_id=str(row.id),
        message=Message(row.topic, row.body.encode(), keys=(row.message_key,), properties={TX_ID: str(row.id)}),
        state=next((state for state in _ATTENTION if state in states), State.READY),
        producer_group="",
        born_at=row.born_at,
        deliver_at=None,
        resolution=None,
        resolved_at=None,
        checks=(),
        check_count=0,
        groups=groups,
    )
