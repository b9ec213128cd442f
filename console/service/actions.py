"""What people did through the console: who, when and why. It is written before anything is done, its outcome after."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Select, delete, insert, select, update

from common.db import Database
from common.errors import Malformed
from console.model import actions
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, DuplicateRow, HalfMessageError
from halfmessage.ids import IdSource

SHOWN: Final = 50  # actions of a list
LONGEST_WHY: Final = 200  # characters of a reason
_LONGEST_DETAIL: Final = 1024  # characters, as the column has it


class Outcome(StrEnum):
    """How an action ended; begun: the console ended before it did, or it is still under way."""

    BEGUN = "begun"
    DONE = "done"
    NOTHING = "nothing"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    LEFT = "left"


class SentBefore(Conflict):
    """This form was sent before; what it did is told where it leads to."""

    slug, title = "sent-before", "Sent before"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be done: with what (ids of messages, of goods …), why; `batch`: the id of their form."""

    batch: int
    who: str
    action: str
    what: Sequence[str]
    why: str


@dataclass(frozen=True, slots=True)
class Action:
    """What was done with one thing; times in ms since the epoch. `effect_at`: when its effect was seen, if it was."""

    action_id: int
    batch: int | None
    at: int
    who: str
    action: str
    what: str
    why: str
    outcome: Outcome
    detail: str
    effect_at: int | None


class Actions:
    """The table of actions."""

    def __init__(self, database: Database, ids: IdSource) -> None:
        """Take the console's database, and what issues the ids of actions and forms."""
        self._database, self._ids = database, ids

    def form_id(self) -> int:
        """Return an id for a form: what is sent with it is done once."""
        return self._ids.next()

    def begin(self, asked: Asked) -> Mapping[str, int]:
        """Write down what is about to be done; return the actions' ids by what is meant.

        Raise `SentBefore` where this form was sent for the same thing, `Malformed` where it asked for something else,
        for another reason, or by somebody else: nothing is written then.
        """
        now = now_ms()
        found = {what: self._ids.next() for what in dict.fromkeys(asked.what)}
        rows = [
            {
                "action_id": action_id,
                "batch": asked.batch,
                "at": now,
                "who": asked.who,
                "action": asked.action,
                "what": what,
                "why": asked.why,
                "outcome": Outcome.BEGUN.value,
                "detail": "",
            }
            for what, action_id in found.items()
        ]

        try:
            self._database.transact(lambda connection: connection.execute(insert(actions), rows))
        except DuplicateRow as error:
            before = {(one.who, one.action, one.why) for one in self.of_batch(asked.batch)}
            if before - {(asked.who, asked.action, asked.why)}:
                raise Malformed(
                    "This form was sent before for something else: open it anew. Nothing was done."
                ) from error
            raise SentBefore from error
        return found

    def end(self, action_id: int, outcome: Outcome, detail: str) -> None:
        """Write down how an action ended; what is told of it is cut where it is too long.

        Where that fails, it stays begun: what was done is done, so nobody is told that it failed.
        """
        try:
            self._change(action_id, outcome=outcome.value, detail=detail[:_LONGEST_DETAIL])
        except HalfMessageError as error:
            structlog.get_logger().warning(
                "the end of an action was not written down",
                action_id=action_id,
                outcome=outcome.value,
                reason=error.detail,
            )

    def seen(self, action_id: int) -> None:
        """Write down that the effect of an action was seen."""
        self._change(action_id, effect_at=now_ms())

    def of(self, what: str) -> list[Action]:
        """Return what was done with a thing, the last first."""
        return self._read(select(actions).where(actions.c.what == what))

    def of_batch(self, batch: int, most: int = SHOWN) -> list[Action]:
        """Return what was done with one form, the last first."""
        return self._read(select(actions).where(actions.c.batch == batch), most)

    def recent(self, kinds: Collection[str]) -> list[Action]:
        """Return the last actions of these kinds, the last first."""
        return self._read(select(actions).where(actions.c.action.in_(sorted(kinds))))

    def purge(self, before: int) -> int:
        """Delete actions from before a time (ms since the epoch), so many in a transaction; return how many."""

        def some(connection: Connection) -> int:
            old = select(actions.c.action_id).where(actions.c.at < before).order_by(actions.c.at).limit(VALUES)
            ids = connection.scalars(old).all()
            connection.execute(delete(actions).where(actions.c.action_id.in_(ids)))
            return len(ids)

        purged = 0
        while more := self._database.transact(some):
            purged += more
        return purged

    def _change(self, action_id: int, **values: Any) -> None:
        change = update(actions).where(actions.c.action_id == action_id).values(**values)
        self._database.transact(lambda connection: connection.execute(change))

    def _read(self, query: Select[Any], most: int = SHOWN) -> list[Action]:
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(actions.c.action_id.desc()).limit(most)).all()
        return [_action(row) for row in rows]


def _action(row: Any) -> Action:
    return Action(
        row.action_id,
        row.batch,
        row.at,
        row.who,
        row.action,
        row.what,
        row.why,
        Outcome(row.outcome),
        row.detail,
        row.effect_at,
    )
