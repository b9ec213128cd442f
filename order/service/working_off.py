"""What messages `order_request` mean: the requests in them are placed, each through the one way of placing.

However often a request comes, it is decided once: with its order, or by a compare-and-set here
(`order.service.requests`). What can't be decided now comes again, until it is too old.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from common.aside import Aside, result
from common.db import Database
from common.errors import IdempotencyMismatch, OrdersError
from common.idempotency import IdempotencyKey
from halfmessage.chunks import ROWS, chunks
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, OutcomeUnknown, Unavailable
from halfmessage.participant.event import OrderEvent
from order.model import Order, RequestExpired, RequestState
from order.service.ordering import Placed, Request
from order.service.placing import KeyTaken
from order.service.requests import Decision, OrderRequest, decide, find_queued, page_of_queued
from order.service.submitting import wanted_by

_PLACED_WITHIN: Final = 30.0  # seconds: the steps of placing have deadlines of their own
_PAGES: Final = 20  # of `ROWS` requests that one rescue looks at, so that it ends

Describe = Callable[[HalfMessageError, str], Mapping[str, Any]]
"""Returns the problem that an HTTP request (its id) would have been answered with; `status` tells whose fault it is."""

log = structlog.get_logger()


class WorkingOff:
    """Places what was submitted."""

    def __init__(
        self,
        database: Database,
        order: Callable[[Request], Placed],
        first_answer: Callable[[IdempotencyKey], Order | None],
        aside: Aside,
        describe: Describe,
        *,
        at_once: int,
        expires: float,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take what places one order, and `aside`, which does so with `at_once` of them together.

        A request that is older than `expires` seconds is not placed any more: it has come to the order that
        `first_answer` finds under its key, or is refused. `count` is told what each came to.
        """
        self._database = database
        self._order = order
        self._first_answer = first_answer
        self._aside = aside
        self._describe = describe
        self._at_once = at_once
        self._expires_ms = int(expires * 1000)
        self._count = count

    def handle(self, events: Sequence[OrderEvent]) -> list[bool]:
        """Place the requests that messages name; return whether each message is done with.

        Raise `Unavailable` or `CommitOutcomeUnknown`: all of them must come again; what is decided is found so.
        """
        with self._database.read() as connection:
            waiting = find_queued(connection, [one for event in events for one in event.order_ids])
        undecided = self._work_off(waiting)
        return [undecided.isdisjoint(event.order_ids) for event in events]

    def rescue(self, grace: float) -> int:
        """Place the requests that have waited for longer than `grace` seconds: no message may name them any more.

        Return how many were looked at. Raise as `handle` does: the next round goes on.
        """
        before, after, looked_at = now_ms() - int(grace * 1000), 0, 0
        for _ in range(_PAGES):
            with self._database.read() as connection:
                page = page_of_queued(connection, before=before, after=after, limit=ROWS)
            if not page:
                break
            self._work_off(page)
            after, looked_at = page[-1].request_id, looked_at + len(page)
        return looked_at

    def _work_off(self, waiting: Sequence[OrderRequest]) -> set[int]:
        """Return those that are not decided yet. Raise `Unavailable` where nothing can be placed now.

        One that needs what is down does not hold up those that don't.
        """
        undecided: set[int] = set()
        for part in chunks(waiting, self._at_once):
            steps = [(one, self._aside.start(self._decision, one)) for one in part]
            answers = [(one, result(step, _PLACED_WITHIN)) for one, step in steps]
            decisions = [answer for _, answer in answers if isinstance(answer, Decision)]
            if decisions:
                self._database.transact(partial(_write, decisions=decisions))
            failures = [answer for _, answer in answers if isinstance(answer, Unavailable)]
            if len(failures) == len(part):
                raise failures[0]
            undecided |= {one.request_id for one, answer in answers if answer is None or answer in failures}
        return undecided

    def _decision(self, request: OrderRequest) -> Decision | Unavailable | bool | None:
        """Place one; return what is to be written, True where that was written with the order, else why it waits."""
        wanted = wanted_by(request)
        try:
            placed = self._placed(request, wanted)
        except Unavailable as error:
            log.info("an order request waits", request_id=str(request.request_id), reason=error.detail)
            return error
        except (KeyTaken, OutcomeUnknown):
            return None  # another process has decided it, or the check-back will
        except HalfMessageError as error:
            return self._refusal(request, self._describe(error, wanted.asked_as))
        except Exception:  # a message's edge: a request that nothing can place must not hold up the others
            log.exception("an order request failed", request_id=str(request.request_id))
            return self._refusal(request, self._describe(OrdersError(), wanted.asked_as))
        self._count("created")
        if placed.replayed:
            return Decision(request.request_id, RequestState.CREATED, placed.order.order_id)
        return True

    def _placed(self, request: OrderRequest, wanted: Request) -> Placed:
        if now_ms() - request.submitted_at <= self._expires_ms:
            return self._order(wanted)
        first = self._stands(wanted.idempotency)
        if first is None:
            raise RequestExpired
        return Placed(first, replayed=True)

    def _stands(self, key: IdempotencyKey | None) -> Order | None:
        """Return the order of a key: its client may have placed it at once meanwhile, or another process did.

        One of another request with the same key is none of this request.
        """
        try:
            return None if key is None else self._first_answer(key)
        except IdempotencyMismatch:
            return None

    def _refusal(self, request: OrderRequest, problem: Mapping[str, Any]) -> Decision:
        state = RequestState.FAILED if problem["status"] >= 500 else RequestState.REFUSED  # noqa: PLR2004 - a status class
        self._count(state.value)
        return Decision(request.request_id, state, problem=problem)


def _write(connection: Connection, decisions: Sequence[Decision]) -> None:
    decide(connection, decisions)


def rescue_once(working_off: WorkingOff, grace: float) -> None:
    """Rescue at a worker's edge: what fails now is for the next round."""
    try:
        working_off.rescue(grace)
    except HalfMessageError as error:
        log.warning("order requests not worked off; the next round goes on", reason=error.detail)
