"""What the books say: sessions with their charges, the refunds asked for, and the events."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Row, Select, bindparam, select

from common.db import Database
from halfmessage.chunks import rows_in
from halfmessage.errors import NotFound
from sandbox.model import SessionState, callbacks, charges, events, plans, refunds, sessions

_SESSION: Final = select(sessions).where(sessions.c.reference == bindparam("reference"))
_LOCKED: Final = _SESSION.with_for_update()

Rows = Sequence[Row[Any]]


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that was taken; `refunds`: each asking for it back, refused ones too."""

    row: Row[Any]
    refunds: Rows


@dataclass(frozen=True, slots=True)
class Session:
    """A session, and all that happened in it, oldest first."""

    row: Row[Any]
    charges: tuple[Charge, ...]
    events: Rows

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return SessionState(self.row.state)


class Reader:
    """Reads the books."""

    def __init__(self, database: Database) -> None:
        """Read from `database`."""
        self._database = database

    def session(self, reference: str) -> Session:
        """Return a session. Raise `NotFound`."""
        with self._database.read(snapshot=True) as connection:
            return whole(connection, [session_row(connection, reference)])[0]

    def list(self, limit: int, after: int) -> list[Session]:
        """Return up to `limit` sessions whose ids are higher than `after`, lowest first."""
        query = select(sessions).where(sessions.c.session_id > after).order_by(sessions.c.session_id).limit(limit)
        with self._database.read(snapshot=True) as connection:
            return whole(connection, connection.execute(query).all())

    def callbacks(self, reference: str) -> Rows:
        """Return the callbacks of a session, oldest first."""
        query = (
            select(callbacks, events.c.kind)
            .join(events, events.c.event_id == callbacks.c.event_id)
            .join(sessions, sessions.c.session_id == events.c.session_id)
            .where(sessions.c.reference == reference)
            .order_by(callbacks.c.callback_id)
        )
        with self._database.read() as connection:
            return connection.execute(query).all()

    def planned(self, session: Session) -> int | None:
        """Return when a session's money will be taken, by a payment that is under way; None: there is none."""
        is_its = (plans.c.session_id == session.row.session_id) & plans.c.refund_id.is_(None)
        with self._database.read() as connection:
            return connection.execute(select(plans.c.due_at).where(is_its)).scalar()


def session_row(connection: Connection, reference: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of a session; `lock` it until the transaction ends. Raise `NotFound`."""
    row = connection.execute(_LOCKED if lock else _SESSION, {"reference": reference}).first()
    if row is None:
        raise NotFound("There is no such session.")
    return row


def whole(connection: Connection, rows: Rows) -> list[Session]:
    """Return sessions with all that belongs to them."""
    ids = [row.session_id for row in rows]
    taken = _of(connection, _CHARGES, "session_id", ids)
    charge_ids = [charge.charge_id for found in taken.values() for charge in found]
    back = _of(connection, _REFUNDS, "charge_id", charge_ids)
    told = _of(connection, _EVENTS, "session_id", ids)
    return [
        Session(
            row,
            tuple(Charge(charge, back[charge.charge_id]) for charge in taken[row.session_id]),
            told[row.session_id],
        )
        for row in rows
    ]


def _by(owner: Column[int], key: Column[int]) -> Select[Any]:
    return select(owner.table).where(owner.in_(bindparam("ids", expanding=True))).order_by(key)


_CHARGES: Final = _by(charges.c.session_id, charges.c.charge_id)
_REFUNDS: Final = _by(refunds.c.charge_id, refunds.c.refund_id)
_EVENTS: Final = _by(events.c.session_id, events.c.event_id)


def _of(connection: Connection, query: Select[Any], owner: str, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows_in(connection, query, "ids", ids):
        found[getattr(row, owner)].append(row)
    return found
