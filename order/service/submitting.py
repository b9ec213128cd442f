"""Orders submitted now and placed soon: taken in, many together, as one transactional message (docs/decisions/0034).

    begin      half message `order_request`, to be delivered if the transaction commits
    commit     ONE local transaction: record + the requests, `queued`
    resolve    commit the half message: its consumer places the orders; no client waits for it

So what was told to be taken in is there, and what was told not to be is not, whatever crashes in between: the
check-back decides what is left open.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, insert

from common.aside import Aside
from common.db import Database
from common.errors import IdempotencyMismatch, TooManyRequests
from common.idempotency import IdempotencyKey
from common.registry import REQUEST_TOPIC
from halfmessage.clock import now_ms
from halfmessage.errors import (
    CommitOutcomeUnknown,
    DuplicateRow,
    HalfMessageError,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Coordinator
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.model import Receiver, RequestState, Sale, order_requests
from order.service.ordering import Request
from order.service.requests import OrderRequest, find_by_keys, own_key, queued_in_all, queued_of, request_row

_NEW = insert(order_requests)
_TRIES = 3  # of a batch one of whose keys another process takes meanwhile: it is found then

Key = tuple[str, str]


def _key(submission: Request) -> Key | None:
    """Return its user, and the client's Idempotency-Key."""
    key = submission.idempotency
    return None if key is None else (key.user_id, key.key)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The request that was taken in, and whether this answer repeats an earlier one."""

    request: OrderRequest
    replayed: bool


Taken = Submitted | HalfMessageError


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many requests may wait in all, and of one user; several processes may exceed them by a batch each."""

    most: int
    most_of_one_user: int


class Submitting:
    """Takes in batches of submissions."""

    def __init__(
        self,
        coordinator: Coordinator,
        database: Database,
        aside: Aside,
        bounds: Bounds,
    ) -> None:
        """Take what begins transactions, the database, and what starts steps beside."""
        self._coordinator = coordinator
        self._database = database
        self._aside = aside
        self._bounds = bounds

    def take_in(self, submissions: Sequence[Request]) -> list[Taken]:
        """Take in a batch; return for each what it got.

        Raise what the whole batch got: `Unavailable` (nothing was taken in) or `OutcomeUnknown`.
        """
        for _ in range(_TRIES):
            sorting = self._sort(submissions)
            if not sorting.new:
                return sorting.answers
            try:
                self._store(sorting.new)
            except DuplicateRow:
                continue
            return sorting.answers
        raise Unavailable

    def _sort(self, submissions: Sequence[Request]) -> "_Sorting":
        keys = {key for one in submissions if (key := _key(one)) is not None}
        with self._database.read() as connection:
            sorting = _Sorting(
                find_by_keys(connection, keys) if keys else {},
                Counter(queued_of(connection, {one.user_id for one in submissions})),
                queued_in_all(connection, self._bounds.most),
            )
        tx_id = self._coordinator.ids.next()
        for one in submissions:
            sorting.add(one, self._bounds, lambda one=one: self._new(one, tx_id))  # type: ignore[misc]
        return sorting

    def _new(self, submission: Request, tx_id: int) -> OrderRequest:
        request_id = self._coordinator.ids.next()
        key = submission.idempotency or IdempotencyKey(submission.user_id, own_key(request_id), "")
        return OrderRequest(
            *(request_id, tx_id, key.user_id, RequestState.QUEUED, now_ms(), key.key, key.request_hash),
            wanted=wanted_of(submission),
        )

    def _store(self, new: Sequence[OrderRequest]) -> None:
        event = OrderEvent(tx_id=new[0].tx_id, order_ids=tuple(one.request_id for one in new))
        tx = self._coordinator.begin(event.tx_id, event.to_message(REQUEST_TOPIC), Outcome.COMMITTED, name="request")
        rows = [request_row(one) for one in sorted(new, key=lambda one: (one.user_id, one.key))]  # one order of locking

        def write(connection: Connection) -> None:
            connection.execute(_NEW, rows)

        try:
            tx.commit(write)
        except AlreadyAborted:
            raise  # the check-back has decided
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=None) from error
        except HalfMessageError:
            tx.resolve(Outcome.ABORTED)
            raise
        self._aside.start(tx.resolve, Outcome.COMMITTED)


class _Sorting:
    """What each submission of a batch gets, and the requests that are new."""

    def __init__(self, known: Mapping[Key, OrderRequest], of_users: Counter[str], in_all: int) -> None:
        self._known = dict(known)
        self._of_users = of_users
        self._in_all = in_all
        self.answers: list[Taken] = []
        self.new: list[OrderRequest] = []

    def add(self, submission: Request, bounds: Bounds, make: Callable[[], OrderRequest]) -> None:
        key, user = _key(submission), submission.user_id
        if key is not None and key in self._known:
            self.answers.append(_again(submission, self._known[key]))
        elif self._of_users[user] >= bounds.most_of_one_user:
            self.answers.append(TooManyRequests("Too many of your order requests wait to be placed."))
        elif self._in_all >= bounds.most:
            self.answers.append(Overloaded())
        else:
            request = make()
            self._of_users[user] += 1
            self._in_all += 1
            self.new.append(request)
            self.answers.append(Submitted(request, replayed=False))
            if key is not None:
                self._known[key] = request


def _again(submission: Request, first: OrderRequest) -> Taken:
    key = submission.idempotency
    if key is None or not key.is_of(first.request_hash):
        return IdempotencyMismatch()
    return Submitted(first, replayed=True)


def wanted_of(request: Request) -> dict[str, Any]:
    """Return what is asked for, as a request's row keeps it."""
    return {
        "items": [[str(goods_id), quantity] for goods_id, quantity in request.quantities.items()],
        "receiver": request.receiver and asdict(request.receiver),
        "coupon_id": None if request.coupon_id is None else str(request.coupon_id),
        "asked_as": request.asked_as,
    } | ({} if request.sale is None else {"sale": _sale_row(request.sale)})


def _sale_row(sale: Sale) -> dict[str, Any]:
    return asdict(sale) | {"sale_id": str(sale.sale_id), "tx_id": str(sale.tx_id)}


def _sale(row: Mapping[str, Any]) -> Sale:
    return Sale(**{**row, "sale_id": int(row["sale_id"]), "tx_id": int(row["tx_id"])})


def wanted_by(request: OrderRequest) -> Request:
    """Return what was submitted, from its row while it waits."""
    wanted = request.wanted or {}
    receiver, coupon_id, sale = wanted["receiver"], wanted["coupon_id"], wanted.get("sale")
    return Request(
        request.user_id,
        {int(goods_id): quantity for goods_id, quantity in wanted["items"]},
        receiver and Receiver(**receiver),
        request.idempotency,
        None if coupon_id is None else int(coupon_id),
        request.request_id,
        wanted["asked_as"],
        sale and _sale(sale),
    )
