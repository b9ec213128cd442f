"""Order requests as rows: how they are read, decided and forgotten (docs/decisions/0034).

A request is decided by one compare-and-set, `queued` → anything else: as `created` in the local transaction that writes
its order, otherwise here. Whichever comes first, the other drops out, so the row and the orders never disagree.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, case, func, null, select, tuple_, update

from common.db import Database
from common.idempotency import IdempotencyKey
from common.purging import purge
from halfmessage.chunks import rows_in
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound
from halfmessage.ids import first_of
from halfmessage.tx.batch import Batcher
from order.model import RequestState, Status, order_requests, orders

COUNTED: Final = 10_000
NONE: Final = "There is no such order request."
"""Requests that are counted before one, at most; who has more before them is not told how many."""
_TOGETHER = 256  # requests in one query
_LONGEST_QUEUE = 1 << 16  # more than there may be threads: none is refused
_LONGEST_WAIT = 5.0  # seconds until its query begins

_ROW = order_requests.c
_IS_QUEUED = _ROW.state == RequestState.QUEUED.value
_BY_ID = select(order_requests).where(_ROW.request_id.in_(bindparam("request_ids", expanding=True)))
_KNOWN = select(_ROW.request_id).where(_ROW.request_id.in_(bindparam("request_ids", expanding=True)))
_STANDING = (
    select(_ROW.request_id, _ROW.state, _ROW.order_id, orders.c.status)
    .join_from(order_requests, orders, orders.c.order_id == _ROW.order_id, isouter=True)
    .where(_ROW.request_id.in_(bindparam("request_ids", expanding=True)))
)
_QUEUED_BY_ID = _BY_ID.where(_IS_QUEUED)
_OF_USERS = (
    select(_ROW.user_id, func.count())
    .where(_IS_QUEUED, _ROW.user_id.in_(bindparam("users", expanding=True)))
    .group_by(_ROW.user_id)
)
_BY_KEYS = select(order_requests).where(
    tuple_(_ROW.user_id, _ROW.idempotency_key).in_(bindparam("keys", expanding=True))
)


class RequestDecided(DuplicateRow):
    """The order request was decided meanwhile."""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that was submitted to be placed soon; times in ms since the epoch.

    `ahead`: requests that wait before it, None where that is not known. `problem`: why there is no order.
    """

    request_id: int
    tx_id: int
    user_id: str
    state: RequestState
    submitted_at: int
    key: str = ""
    request_hash: str = ""
    wanted: Mapping[str, Any] | None = field(default=None, repr=False)  # it names a receiver
    order_id: int | None = None
    problem: Mapping[str, Any] | None = None
    decided_at: int | None = None
    ahead: int | None = None

    @property
    def idempotency(self) -> IdempotencyKey:
        """The key under which its order is placed: the client's, or its own."""
        return IdempotencyKey(self.user_id, self.key, self.request_hash)


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a request, and how its order stands; None where there is none."""

    state: RequestState
    order_id: int | None = None
    status: Status | None = None


class RequestReader:
    """Reads requests. Those that are asked for while a query is under way share the next one."""

    def __init__(self, database: Database) -> None:
        """Take the order service's database."""
        self._database = database
        self._by_id: Batcher[int, OrderRequest | None] = Batcher(
            self._find, lanes=1, heaviest=_TOGETHER, longest_queue=_LONGEST_QUEUE, longest_wait=_LONGEST_WAIT
        )

    def get(self, request_id: int, *, owner: str | None) -> OrderRequest:
        """Return a request of `owner` (None: of anybody's). Raise `NotFound`, also when it is another's."""
        found = self._by_id.submit(request_id)
        if found is None or owner not in {None, found.user_id}:
            raise NotFound(NONE)
        return found

    def states(self, request_ids: Collection[int]) -> dict[int, Standing]:
        """Return what became of those of the requests that are known."""
        with self._database.read() as connection:
            rows = rows_in(connection, _STANDING, "request_ids", request_ids)
        return {
            row.request_id: Standing(RequestState(row.state), row.order_id, row.status and Status(row.status))
            for row in rows
        }

    def _find(self, request_ids: Sequence[int]) -> list[OrderRequest | None]:
        with self._database.read() as connection:
            rows = rows_in(connection, _BY_ID, "request_ids", set(request_ids))
            found = {row.request_id: _request(row) for row in rows}
            waiting = [one for one in found.values() if one.state is RequestState.QUEUED]
            before = _oldest(connection, max(one.request_id for one in waiting)) if waiting else []
        for one in waiting:
            place = bisect_left(before, one.request_id)
            found[one.request_id] = replace(one, ahead=place if place < COUNTED else None)
        return [found.get(request_id) for request_id in request_ids]


def _oldest(connection: Connection, below: int) -> list[int]:
    query = select(_ROW.request_id).where(_IS_QUEUED, _ROW.request_id < below)
    return list(connection.scalars(query.order_by(_ROW.request_id).limit(COUNTED)))


def own_key(request_id: int) -> str:
    """Return the key of a request that came without one. No client can send it, for it has a space in it.

    An id alone would do for that only until its user, who is told it, sends it as the key of something else.
    """
    return f"request {request_id}"


def find_by_keys(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], OrderRequest]:
    """Return the requests that came with these of their users' idempotency keys."""
    rows = rows_in(connection, _BY_KEYS, "keys", keys)
    return {(row.user_id, row.idempotency_key): _request(row) for row in rows}


def queued_of(connection: Connection, users: Collection[str]) -> dict[str, int]:
    """Return how many requests of each of the users wait; none where there is no entry."""
    return {user: int(number) for user, number in rows_in(connection, _OF_USERS, "users", users)}


def queued_in_all(connection: Connection, most: int) -> int:
    """Return how many requests wait, counted up to `most`."""
    some = select(_ROW.request_id).where(_IS_QUEUED).limit(most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def known_requests(connection: Connection, request_ids: Collection[int]) -> set[int]:
    """Return those of the ids that are of requests."""
    return {row.request_id for row in rows_in(connection, _KNOWN, "request_ids", request_ids)}


def request_row(request: OrderRequest) -> dict[str, Any]:
    """Return the row of a request that is not decided."""
    return {
        "request_id": request.request_id,
        "tx_id": request.tx_id,
        "user_id": request.user_id,
        "idempotency_key": request.key,
        "request_hash": request.request_hash,
        "state": request.state.value,
        "wanted": request.wanted,
        "submitted_at": request.submitted_at,
    }


def find_queued(connection: Connection, request_ids: Collection[int]) -> list[OrderRequest]:
    """Return those of the requests that are not decided, the oldest first."""
    rows = rows_in(connection, _QUEUED_BY_ID, "request_ids", request_ids)
    return sorted(map(_request, rows), key=lambda one: one.request_id)


def page_of_queued(connection: Connection, *, before: int, after: int, limit: int) -> list[OrderRequest]:
    """Return requests that wait, submitted `before` a time (ms), ids above `after`, the oldest first."""
    query = select(order_requests).where(_IS_QUEUED, _ROW.request_id > after, _ROW.submitted_at < before)
    return [_request(row) for row in connection.execute(query.order_by(_ROW.request_id).limit(limit))]


def find_by_order(connection: Connection, order_id: int) -> OrderRequest | None:
    """Return the request that an order was made for."""
    row = connection.execute(select(order_requests).where(_ROW.order_id == order_id)).first()
    return None if row is None else _request(row)


def backlog(database: Database, most: int) -> dict[str, float]:
    """Return how many requests wait, counted up to `most`, and since when the oldest does (seconds), as metrics."""
    with database.read() as connection:
        number = queued_in_all(connection, most)
        oldest = connection.scalar(select(_ROW.submitted_at).where(_IS_QUEUED).order_by(_ROW.request_id).limit(1))
    age = 0.0 if oldest is None else max(0, now_ms() - oldest) / 1000
    return {"requests_queued": number, "request_oldest_seconds": age}


def note_created(connection: Connection, orders: Mapping[int, int]) -> None:
    """Decide requests as `created`, each with its order's id, in the transaction that writes the orders.

    Raise `RequestDecided` where one of them is decided already: roll back.
    """
    is_open = _ROW.request_id.in_(orders) & _IS_QUEUED
    order_id = case(dict(orders), value=_ROW.request_id)
    decided = {"state": RequestState.CREATED.value, "order_id": order_id, "decided_at": now_ms(), "wanted": null()}
    if connection.execute(update(order_requests).where(is_open).values(decided)).rowcount != len(orders):
        raise RequestDecided


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a request that this process has not decided with its order."""

    request_id: int
    state: RequestState
    order_id: int | None = None
    problem: Mapping[str, Any] | None = None


def decide(connection: Connection, decisions: Sequence[Decision]) -> None:
    """Write decisions; a request that is decided already stays as it is."""
    for one in sorted(decisions, key=lambda decision: decision.request_id):
        values = {"order_id": one.order_id, "problem": one.problem, "decided_at": now_ms(), "wanted": null()}
        query = update(order_requests).where(_ROW.request_id == one.request_id, _IS_QUEUED)
        connection.execute(query.values(state=one.state.value, **values))


def forget_requests(database: Database, retention: float) -> int:
    """Delete the requests that were submitted longer ago than `retention` seconds and are decided; return how many.

    Raise as `purge` does.
    """
    return purge(database, _ROW.request_id, first_of(now_ms() - int(retention * 1000)), ~_IS_QUEUED)


def _request(row: Row[Any]) -> OrderRequest:
    return OrderRequest(
        row.request_id,
        row.tx_id,
        row.user_id,
        RequestState(row.state),
        row.submitted_at,
        row.idempotency_key,
        row.request_hash,
        row.wanted,
        row.order_id,
        row.problem,
        row.decided_at,
    )
