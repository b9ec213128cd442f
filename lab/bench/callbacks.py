"""`./scripts/bench callbacks` and `refunds`: a provider's callbacks for orders that wait for them, or are closed.

The money is in the sandbox's books already, as if it had been taken there; its callbacks are sent by the load.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
from pydantic import SecretStr
from sqlalchemy import Connection, insert, text

from common import sandbox
from common.db import Database
from halfmessage.chunks import chunks
from halfmessage.clock import now_ms
from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured, Run, run_of
from lab.bench.fill import Filling, Kind, Series
from lab.bench.load import Job, Sample
from lab.bench.meter import Meter
from lab.bench.pace import requests_of
from lab.bench.runner import LOAD, Runner
from lab.bench.wire import Requests
from ops.waiting import wait_for
from sandbox.model import EventKind, SessionState, charges, events, sessions

_KINDS: Final = 100
_AMOUNT, _CURRENCY = 250, "EUR"  # of each filled order
_LIFE: Final = 3_600_000  # ms until the orders that are to be paid fall due
_CONNECTIONS: Final = 64
_ROWS: Final = 1000  # of one statement
_REFUNDED = "SELECT count(*) FROM refunds WHERE state = 'done'"
_ALL_SAID = "SELECT count(*) FROM charges WHERE state = 'refunded'"


class CallbacksBench:
    """Fills in orders and the money that was taken for them, and calls back."""

    def __init__(self, bench: Bench, orders: Runner) -> None:
        """Take the bench, whose runner calls back, and what places orders meanwhile."""
        self._bench, self._orders = bench, orders
        self._goods = bench.sut.new_goods(_KINDS)

    def paid(self, rate: float, clients: int) -> Measured:
        """Measure callbacks at a rate (of a second) while so many clients place orders. Raise `NotInTime`."""
        measured = Measured(f"callbacks, {clients} clients place orders", "open", _CONNECTIONS, _KINDS, rate)
        effort = self._bench.effort
        number = requests_of(rate, effort.warm_up + effort.seconds)  # no more: money that nothing tells of is wrong
        for run in range(effort.runs):
            self._bench.tell(f"{measured.title}: run {run + 1} of {effort.runs}")
            series = self._fill(Kind.UNPAID, number)
            measured.runs.append(self._call_back(series, number, rate, clients))
        return measured

    def late(self, orders: int, rate: float, within: float) -> tuple[Measured, float]:
        """Call back for so many closed orders; return seconds until all is sent back, too. Raise `NotInTime`."""
        sut = self._bench.sut
        measured = Measured(f"{orders:,} late payments", "open", _CONNECTIONS, _KINDS, rate)
        series = self._fill(Kind.CLOSED, orders)
        requests = self._requests(series, orders)
        before = [_count(sut.database(*of), query) for *of, query in (("sandbox", _REFUNDED), ("pay", _ALL_SAID))]
        job = Job(sut.addresses("pay"), requests, _CONNECTIONS, 0.0, orders / rate, rate=rate, expect=200)
        self._bench.tell(f"{measured.title}: until all of it is sent back")
        meter = Meter(lambda: {**sut.pids(), LOAD: self._bench.runner.pid})
        began = time.monotonic()

        def all_back() -> bool:
            after = (_count(sut.database("sandbox"), _REFUNDED), _count(sut.database("pay"), _ALL_SAID))
            return all(now - then >= orders for now, then in zip(after, before, strict=True))

        with meter.watch():
            sample = self._bench.runner.submit(job).result()
            wait_for("the refunds", all_back, within=within, every=0.2)
        took = time.monotonic() - began
        wrong = sut.judge.settle([], since=series.order_id(0), within=JUDGED_WITHIN)
        measured.runs.append(run_of(sample, meter.taken, wrong))
        return measured, took

    def _call_back(self, series: Series, number: int, rate: float, clients: int) -> Run:
        sut, effort = self._bench.sut, self._bench.effort
        requests = self._requests(series, number)
        placing = Job(sut.addresses(), sut.orders(self._goods), clients, 0.0, effort.warm_up + effort.seconds)
        placed = self._orders.submit(placing) if clients else None
        calling = Job(
            sut.addresses("pay"), requests, _CONNECTIONS, effort.warm_up, effort.seconds, rate=rate, expect=200
        )

        def check(_: Sample) -> list[str]:
            acknowledged: Sequence[int] = placed.result().order_ids if placed is not None else ()
            return sut.judge.settle(acknowledged, since=series.order_id(0), within=JUDGED_WITHIN)

        return self._bench.runner.run(calling, sut.pids, check)

    def _fill(self, kind: Kind, number: int) -> Series:
        sut = self._bench.sut
        ago = number + 1000  # ms: none is placed in the future, and no two runs have ids in common
        series = Series(kind, now_ms() - ago, due=now_ms() + _LIFE)
        with Filling.open(*sut.filled, self._goods, series) as filling:
            filling.add(0, number)
        order_ids = [series.order_id(one) for one in range(number)]
        for part in chunks(order_ids, _ROWS):
            sut.database("sandbox").transact(partial(_take, order_ids=part))
        return series

    def _requests(self, series: Series, number: int) -> Requests:
        key = sandbox.callback_key(SecretStr(self._bench.sut.deployment.directory.secret()))
        return Requests([_callback(key, series.order_id(one)) for one in range(number)])


def _take(connection: Connection, order_ids: Sequence[int]) -> None:
    """Write down that the sandbox took the money of orders; the order's id names everything of it."""
    now = now_ms()
    money: dict[str, Any] = {"amount": _AMOUNT, "currency": _CURRENCY}
    rows = [{"session_id": one, "charge_id": one, "event_id": one, "created_at": now, **money} for one in order_ids]
    asked = {"callback_url": "http://bench", "scenario": "card", "expires_at": now, "state": SessionState.PAID}
    about = [
        row | asked | {"attempt_id": one, "payment_id": one, "reference": _reference(one)}
        for row, one in zip(rows, order_ids, strict=True)
    ]
    connection.execute(insert(sessions), about)
    connection.execute(insert(charges), rows)
    connection.execute(insert(events), [row | {"kind": EventKind.SUCCEEDED} for row in rows])


def _reference(order_id: int) -> str:
    return f"bench-{order_id}"


def _callback(key: bytes, order_id: int) -> bytes:
    """Return the request by which the sandbox tells that it took an order's money, signed now."""
    name = str(order_id)
    told = {"event_id": name, "kind": "succeeded", "charge_id": name, "amount": _AMOUNT, "currency": _CURRENCY}
    raw = orjson.dumps(told | {"reason": None, "payment_id": name, "reference": _reference(order_id)})
    signature = sandbox.signature(key, raw, int(time.time()))
    head = (
        "POST /callbacks/sandbox HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"{sandbox.SIGNATURE_HEADER}: {signature}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def _count(database: Database, query: str) -> int:
    with database.read() as connection:
        return int(connection.scalar(text(query)) or 0)
