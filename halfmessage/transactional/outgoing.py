"""One message that leaves with a transaction of yours."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from halfmessage import failpoints
from halfmessage.errors import CommitOutcomeUnknown, FailpointRaised, MessageRefused, Misconfigured
from halfmessage.mq.port import Message
from halfmessage.transactional.options import MOST_BYTES
from halfmessage.transactional.sessions import transaction, within
from halfmessage.transactional.ways import Opened, Way

RULE: Final = "m.begin commits at the end of its block: don't commit or roll back inside of it."
_SENT: Final = (
    "The body was sent before this change, which no consumer would see: set it once, inside of m.begin (m.body = …), "
    "or give it to message (body=…) and leave it."
)
_UNSET: Final = object()


@dataclass(slots=True)
class _Leaving:
    """A message that leaves with a transaction; `opened` from when the broker has it."""

    tell: Callable[[Opened], None]
    opened: Opened | None = None

    def committed(self) -> None:
        if self.opened is not None:
            self.tell(self.opened)

    def dropped(self) -> None:
        if self.opened is not None:
            self.opened.dropped()


class Draft:
    """A message of a topic with a key, and its one transaction, however that is run."""

    def __init__(self, topic: str, key: str, body: Any, *, way: Way, next_id: Callable[[], int]) -> None:
        """Take what `TransactionalMessages.message` checked; `body` may be `OutgoingMessage.UNSET`."""
        self._topic, self._key, self._body = topic, key, body
        self._way, self._next_id = way, next_id
        self._encoded: bytes | None = None
        self.is_begun = False

    UNSET: Final = _UNSET

    @property
    def body(self) -> Any:
        """What consumers get: anything that JSON can say, at most `MOST_BYTES` of it.

        Given to `message`, it is sent before the transaction is begun; set inside of it, just before COMMIT, so that
        the transaction lasts for as long as the broker takes.
        """
        return None if self._body is _UNSET else self._body

    @body.setter
    def body(self, body: Any) -> None:
        if self._encoded is not None:
            raise Misconfigured(_SENT)
        self._body = body

    def _begun(self) -> int:
        """Begin the one transaction that it has; return its id. Raise `Misconfigured` for a second one."""
        if self.is_begun:
            raise Misconfigured("A message has one transaction; make another message.")
        self.is_begun = True
        return self._next_id()

    def _open(self, tx_id: int) -> Opened:
        self._encoded = _encoded(self._body)
        return self._way.open(tx_id, Message(self._topic, self._encoded, keys=(self._key,)))

    def _hold_unchanged(self) -> None:
        """Refuse a body that was changed after it was sent: a dict that was given, and filled inside."""
        if _encoded(self._body) != self._encoded:
            raise Misconfigured(_SENT)

    def _decide(self, session: Session, opened: Opened) -> None:
        """Write what decides the message into the session's transaction, last of all."""
        opened.write(session.connection())
        failpoints.hit(f"{self._topic}.before_commit")

    def _committed(self, opened: Opened) -> None:
        """Have it delivered."""
        try:
            failpoints.hit(f"{self._topic}.committed")
        except FailpointRaised as error:
            raise CommitOutcomeUnknown from error
        opened.committed()


class OutgoingMessage(Draft):
    """A message of a topic with a key; delivered if, and only if, the transaction that `begin` wraps was committed."""

    @contextmanager
    def begin(self, session: Session) -> Iterator[None]:
        """Wrap the local transaction of a session, which is begun here and committed at the end of the block.

        One that the session has begun by reading goes on. One that the library commits already, a consumer's or that of
        another message, is taken part in: it is committed at its own end, with all its messages, or none of them.
        What leaves the block as an exception rolls it back, and drops the message. Raise `BrokerError` or
        `DatabaseUnavailable` (nothing happened), `AlreadyAborted` (it took longer than `Options.deadline`; nothing
        happened), `CommitOutcomeUnknown` (the connection was lost in COMMIT: the check-back finds out, and the message
        follows it), `MessageRefused` for a body that is none, or `Misconfigured` where the block committed or rolled
        back by itself. Your own statements raise what they raise.
        """
        tx_id = self._begun()
        leaving = _Leaving(self._committed)
        if self._body is not _UNSET:  # before there is a lock that could wait for it
            leaving.opened = self._open(tx_id)
        if (made := within(session)) is None:
            with transaction(session, RULE, leaving):
                yield
                self._left(session, leaving, tx_id)
            return
        made.joined.append(leaving)
        made.unwritten += 1
        _hold_whole(session)
        yield
        _hold_whole(session)
        self._left(session, leaving, tx_id)
        made.unwritten -= 1

    def _left(self, session: Session, leaving: _Leaving, tx_id: int) -> None:
        session.flush()
        if leaving.opened is None:
            leaving.opened = self._open(tx_id)
        else:
            self._hold_unchanged()
        self._decide(session, leaving.opened)


def _hold_whole(session: Session) -> None:
    if session.in_nested_transaction():
        raise Misconfigured("A savepoint could be rolled back without the message that is in it.")


def _encoded(body: Any) -> bytes:
    if body is _UNSET:
        raise Misconfigured("m.body was not set before the end of the transaction.")
    try:
        # ASCII, so that an outbox keeps it whatever the table's character set
        encoded = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise MessageRefused(f"A body is what JSON can say: {error}") from error
    if len(encoded) > MOST_BYTES:
        raise MessageRefused(f"A body is at most {MOST_BYTES} bytes of JSON; this is {len(encoded)}.")
    return encoded
