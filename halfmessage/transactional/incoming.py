"""Consumers whose effect happens once: an inbox row in the transaction of the effect.

A broker delivers at least once: after a crash, a retry, or because two processes had the same message. The first
delivery that commits writes the row; any other one finds it, and does nothing. Rows are kept for
`Options.inbox_retention`: that is the window in which it holds.

Failpoints of a group named G: G.received, G.before_commit, G.handled (committed, not yet acknowledged).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import FailpointRaised, MessageRefused
from halfmessage.mq.port import Delivery, Message, Verdict
from halfmessage.transactional.sessions import transaction
from halfmessage.transactional.tables import INBOX
from halfmessage.tx.opened import TX_ID

Handler = Callable[[Any, Session], object]
"""Gets a body and a session in a transaction; what it raises rolls back and has the message come again, later."""

_RULE = "The consumer's transaction is committed after it: don't commit or roll back in it."
_SHOWN = 255  # characters of a key that are kept for people

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What `@tx.consumer` declares. `once_per` names a field of the body; None: the message itself."""

    topic: str
    group: str
    once_per: str | None
    handler: Handler


class Inbox:
    """Implements `halfmessage.mq.port.Handler` for one subscription."""

    def __init__(
        self,
        subscription: Subscription,
        sessions: Callable[[], Session],
        around: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Take what makes a session for each delivery, and what to run the handler in."""
        self._around = around
        self._subscription = subscription
        self._sessions = sessions

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Handle each in a transaction of its own."""
        return [self._verdict(delivery) for delivery in deliveries]

    def _verdict(self, delivery: Delivery) -> Verdict:
        delivery.keep()
        try:
            self._handle(delivery)
        except failpoints.Crashed as error:  # of a test in one process: its thread lives on, as another process would
            raise FailpointRaised from error
        except Exception:  # a message's edge
            log.exception(
                "a message could not be handled and comes again",
                group=self._subscription.group,
                message_id=delivery.message_id,
                attempt=delivery.attempt,
            )
            return Verdict.RETRY
        return Verdict.ACK

    def _handle(self, delivery: Delivery) -> None:
        group = self._subscription.group
        failpoints.hit(f"{group}.received")
        body, row = self._read(delivery)
        with self._sessions() as session, transaction(session, _RULE) as made:
            try:
                session.connection().execute(insert(INBOX), row)
            except IntegrityError:
                made.needless = True
            else:
                with self._around():
                    self._subscription.handler(body, session)
                session.flush()
                failpoints.hit(f"{group}.before_commit")
        if not made.needless:
            failpoints.hit(f"{group}.handled")

    def _read(self, delivery: Delivery) -> tuple[Any, dict[str, Any]]:
        """Return the body, and the inbox row. Raise `MessageRefused` for what is none of ours."""
        wanted = self._subscription
        body, once = read(wanted, delivery.message)
        return body, {
            "digest": digest(wanted, once),
            "consumer_group": wanted.group,
            "topic": wanted.topic,
            "once_key": str(once)[:_SHOWN],
            "handled_at": now_ms(),
        }


def read(wanted: Subscription, message: Message) -> tuple[Any, str | int]:
    """Return a message's body, and by what it counts as the same. Raise `MessageRefused` for what is none of ours."""
    try:
        body = json.loads(message.body)
        once = message.properties[TX_ID] if wanted.once_per is None else body[wanted.once_per]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise MessageRefused(f"The message has no {wanted.once_per or TX_ID!r}, or is no JSON.") from error
    if isinstance(once, bool) or not isinstance(once, str | int):
        raise MessageRefused(f"{wanted.once_per!r} is text or a whole number; this is {once!r}.")
    return body, once


def digest(subscription: Subscription, once: str | int) -> str:
    """Return the primary key of an inbox row."""
    named = [subscription.group, subscription.topic, subscription.once_per, once]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def purge_inbox(connection: Connection, retention: float, limit: int) -> int:
    """Delete up to `limit` rows that are older than the window (seconds); return how many."""
    before = now_ms() - int(retention * 1000)
    old = connection.scalars(
        select(INBOX.c.digest).where(INBOX.c.handled_at < before).order_by(INBOX.c.handled_at).limit(limit)
    ).all()
    connection.execute(delete(INBOX).where(INBOX.c.digest.in_(old)))
    return len(old)
