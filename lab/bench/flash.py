"""`./scripts/bench flash`: buying in a sale that has enough, in one that is sold out, and all at once for few."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import text

from halfmessage.clock import now_ms, rfc3339
from halfmessage.ids import first_of
from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured
from lab.bench.load import UNKNOWN, Sample
from lab.bench.wire import Requests, make_request
from ops.errors import NotInTime
from ops.waiting import wait_for

USERS: Final = 10_000  # who buy in turns where there is enough; none sooner than all others did
_PRICE: Final = 99  # minor units
_LASTS: Final = 24 * 3_600_000  # ms, of a sale
_CONNECTIONS: Final = 512  # of those who come all at once; fewer than the flash service lets wait
_COME_WITHIN: Final = 1.0  # seconds
_TAKEN_IN: Final = 202
_SOLD_OUT: Final = "409 sold-out"
_MAYBE: Final = frozenset({"503 outcome-unknown", *UNKNOWN})
"""Errors after which a purchase may stand all the same."""
_TOLD: Final = 5  # purchases that are told one by one
_WAITING: Final = "SELECT count(*) FROM order_requests WHERE request_id >= :first AND state = 'queued'"
_STATES: Final = "SELECT request_id, state FROM order_requests WHERE request_id >= :first"
_ORDERS: Final = "SELECT count(*) FROM orders WHERE sale_id = :sale_id AND status <> 'closed'"


@dataclass(frozen=True, slots=True)
class _Sale:
    """One that was opened for a run; `bought`: how many orders it had before."""

    sale_id: int
    pieces: int
    bought: int = 0


class FlashBench:
    """Opens a sale for each run, has users buy in it, and waits until all purchases are orders."""

    def __init__(self, bench: Bench, within: float) -> None:
        """Take the bench, and how long working off the purchases of one run may take (seconds)."""
        self._bench, self._within = bench, within
        (self._goods,) = bench.sut.new_goods(1)
        self._tokens: list[str] = []
        self.worked_off: list[float] = []
        """Orders a second, of each run with enough pieces, from its beginning until all were placed."""

    def taken(self, clients: int, pieces: int) -> Measured:
        """Measure with so many clients, each buying again when it has its answer, in a sale of so many pieces.

        One that is sold out before its time measures something else; the run is told as wrong.
        """
        measured = Measured(f"{clients} clients, a piece taken", "closed", clients, 1)
        for _ in range(self._bench.effort.runs):
            sale = _Sale(self._open(pieces, math.ceil(pieces / USERS)), pieces)
            began, placed = time.monotonic(), self._run(measured, sale)
            self.worked_off.append(placed / (time.monotonic() - began))
            if measured.runs[-1].errors.get(_SOLD_OUT):
                measured.runs[-1].wrong.append(f"{pieces:,} pieces were sold out before the time was over: --pieces")
        return measured

    def refused(self, clients: int) -> Measured:
        """Measure the same in a sale that is sold out."""
        measured = Measured(f"{clients} clients, sold out", "closed", clients, 1)
        for _ in range(self._bench.effort.runs):
            sale = _Sale(self._open(1, 1), 1, bought=1)
            with self._bench.sut.deployment.client("the-first") as client:
                client.post("flash", f"/flash-sales/{sale.sale_id}/orders")
            self._run(measured, sale, also=_SOLD_OUT)
        return measured

    def rush(self, buyers: int, pieces: int) -> Measured:
        """Measure so many users who come within a second, each once, for so many pieces."""
        name = f"{buyers:,} within {_COME_WITHIN:g} s, {pieces:,} pieces"
        measured = Measured(name, "open", min(buyers, _CONNECTIONS), 1, rate=buyers / _COME_WITHIN)
        for _ in range(self._bench.effort.runs):
            sold = self._run(measured, _Sale(self._open(pieces, 1), pieces), also=_SOLD_OUT, users=buyers)
            if sold != min(pieces, buyers):
                measured.runs[-1].wrong.append(f"{sold:,} of {pieces:,} pieces were sold")
        return measured

    def _run(self, measured: Measured, sale: _Sale, *, also: str = "", users: int = USERS) -> int:
        """Put the load on once; return how many orders came of it. `also`: an answer that is no error either."""
        bench, first = self._bench, first_of(now_ms())
        number = f"run {len(measured.runs) + 1} of {bench.effort.runs}"
        bench.tell(f"{measured.title}: {number}")
        path = f"/flash-sales/{sale.sale_id}/orders"
        requests = Requests([make_request("POST", path, token) for token in self._tokens_of(users)])
        job = bench.job(measured, requests, expect=_TAKEN_IN, addresses=bench.sut.addresses("flash"))
        job = replace(job, also=frozenset({also} - {""}))
        if measured.rate is not None:
            job = replace(job, warm_up=0.0, seconds=_COME_WITHIN)
        placed = 0

        def check(sample: Sample) -> list[str]:
            nonlocal placed
            bench.tell(f"{measured.title}: {number}, {len(sample.request_ids):,} purchases are placed")
            late = self._wait(first, sample.request_ids)
            judged = bench.sut.judge.settle([], since=first, within=JUDGED_WITHIN)
            placed = self._count(_ORDERS, sale_id=sale.sale_id) - sale.bought
            left, perhaps = sale.pieces - sale.bought, maybe(sample.errors)
            wrong = differences(sample.request_ids, self._states(first), placed, left, perhaps)
            return [*late, *wrong, *judged]

        measured.runs.append(bench.runner.run(job, bench.sut.pids, check))
        return placed

    def _wait(self, first: int, taken_in: Collection[int]) -> list[str]:
        """Wait until each purchase that was taken in is decided; return what is wrong if they are not in time.

        Beside them there are those of the same batches that were refused.
        """

        def are_decided() -> bool:
            if self._count(_WAITING, first=first):
                return False
            states = self._states(first)
            return all(states.get(request_id, "queued") != "queued" for request_id in taken_in)

        try:
            wait_for("the purchases to be placed", are_decided, within=self._within, every=0.2)
        except NotInTime as error:
            return [error.detail]
        return []

    def _states(self, first: int) -> dict[int, str]:
        """Return the states of order requests by id, from an id on."""
        with self._bench.sut.database("order").read() as connection:
            return {int(row[0]): str(row[1]) for row in connection.execute(text(_STATES), {"first": first})}

    def _open(self, pieces: int, per_user: int) -> int:
        now = now_ms()
        times = {"starts_at": rfc3339(now - 1000), "ends_at": rfc3339(now + _LASTS)}
        terms = {"goods_id": self._goods, "quantity": pieces, "unit_price": _PRICE, "per_user": per_user, **times}
        with self._bench.sut.deployment.client("bench", ["admin"]) as client:
            return int(client.post("flash", "/flash-sales", terms)["sale_id"])

    def _tokens_of(self, users: int) -> list[str]:
        """Return a token of each user; those of one run are those of the next."""
        for number in range(len(self._tokens), users):
            self._tokens.append(self._bench.sut.deployment.token(f"buyer-{number}"))
        return self._tokens[:users]

    def _count(self, query: str, **given: int) -> int:
        with self._bench.sut.database("order").read() as connection:
            return int(connection.scalar(text(query), given) or 0)


def maybe(errors: dict[str, int]) -> int:
    """Return how many of the errors may have bought something."""
    return sum(number for kind, number in errors.items() if kind in _MAYBE)


def differences(taken_in: Collection[int], states: dict[int, str], placed: int, pieces: int, perhaps: int) -> list[str]:
    """Return what is wrong: purchases with a 202 that are no orders, orders not bought, more of them than pieces.

    `states` are those of the order requests by id; `perhaps`: how many buyers don't know whether they bought.
    """
    wrong = [
        f"purchase {request_id} was taken in with 202, and is {states.get(request_id, 'nowhere')}"
        for request_id in taken_in
        if states.get(request_id) != "created"
    ]
    if len(wrong) > _TOLD:
        wrong[_TOLD:] = [f"{len(wrong) - _TOLD:,} more of these"]
    if len(set(taken_in)) != len(taken_in):
        wrong.append(f"{len(taken_in) - len(set(taken_in)):,} purchases were told to two buyers")
    if not len(taken_in) <= placed <= len(taken_in) + perhaps:
        wrong.append(f"{len(taken_in):,} were taken in, {perhaps:,} perhaps, and there are {placed:,} orders")
    if placed > pieces:
        wrong.append(f"oversold: {placed:,} orders of {pieces:,} pieces")
    return wrong
