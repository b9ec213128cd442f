"""`./scripts/bench calls`: order's call of stock for one order, over REST and over gRPC, beside a whole order."""

import itertools
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import grpc
import orjson
import psutil
import urllib3

from common.peer import Peer
from common.reservations.client import ReservationClient
from halfmessage.clock import now_ms
from halfmessage.ids import first_of
from lab.bench.grpc_stock import SERVICE
from lab.bench.sut import SystemUnderTest
from ops.errors import CommandFailed

ORDER, REST = "a whole order, POST /orders", "REST, as order calls"
UNARY, STREAM = "gRPC, a call each", "gRPC, one stream"
INSTEAD: Final = frozenset({UNARY, STREAM})  # of REST
_WITHIN: Final = 10.0  # seconds for each answer
_WARM_UP: Final = 30  # calls of each kind that are not counted

Want = Mapping[str, Any]
Call = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one kind: the time of each, in ms, run by run."""

    kind: str
    runs: list[list[float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the runs' medians, in ms."""
        return statistics.median(map(statistics.median, self.runs))


def measure(sut: SystemUnderTest, calls: int, runs: int, tell: Callable[[str], None]) -> list[Calls]:
    """Make `calls` calls of each kind, one after the other, `runs` times in turns. Raise `CommandFailed`."""
    (goods,) = sut.new_goods(1)
    with ExitStack() as stack:
        kinds = {
            ORDER: stack.enter_context(_orders(sut, goods)),
            REST: stack.enter_context(_rest(sut, goods)),
            **stack.enter_context(_grpc(sut, goods)),
        }
        found = [Calls(kind) for kind in kinds]
        for call in kinds.values():
            _times(call, _WARM_UP)
        for run, of_kind in itertools.product(range(runs), found):
            tell(f"run {run + 1} of {runs}: {of_kind.kind}")
            of_kind.runs.append(_times(kinds[of_kind.kind], calls))
    return found


def _times(call: Call, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return times


@contextmanager
def _orders(sut: SystemUnderTest, goods: str) -> Iterator[Call]:
    ((host, port), *_) = sut.addresses()
    headers = {"Authorization": f"Bearer {sut.tokens[0]}", "Content-Type": "application/json"}
    body = orjson.dumps({"items": [{"goods_id": goods, "quantity": 1}]})
    with urllib3.HTTPConnectionPool(host, port, maxsize=1, timeout=_WITHIN, retries=False) as pool:

        def place() -> None:
            answer = pool.request("POST", "/orders", body=body, headers=headers)
            _hold(answer.status == 201, answer.data)  # noqa: PLR2004 - Created

        yield place


@contextmanager
def _rest(sut: SystemUnderTest, goods: str) -> Iterator[Call]:
    token = sut.deployment.token("order", ["service"])
    addresses = sut.deployment.plan.addresses("stock")
    with closing(Peer("stock", addresses, lambda: token, timeout=_WITHIN, connections=1)) as peer:
        client, ids = ReservationClient(peer, "stock"), _unused_ids(0)

        def deduct() -> None:
            order_id = next(ids)
            found = client.reserve(order_id, {order_id: _want(goods)})
            _hold(found[order_id]["verdict"] == "deducted", found)

        yield deduct


@contextmanager
def _grpc(sut: SystemUnderTest, goods: str) -> Iterator[dict[str, Call]]:
    stock = psutil.Process(sut.deployment.supervisor.pid("stock"))
    cores = stock.cpu_affinity() if hasattr(stock, "cpu_affinity") else []
    command = [sys.executable, "-m", "lab.bench.grpc_stock", sut.deployment.database_url("stock")]
    command += [str(cores[0])] if len(cores) == 1 else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        port = process.stdout.readline().strip()
        _hold(bool(port), "the gRPC server did not start")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            unary = channel.unary_unary(f"/{SERVICE}/Deduct")
            stream = channel.stream_stream(f"/{SERVICE}/DeductEach")
            ids, asked = _unused_ids(1), queue.SimpleQueue[bytes | None]()
            answers = stream(iter(asked.get, None), timeout=3600.0)

            def deduct(ask: Callable[[bytes], bytes]) -> None:
                order_id = str(next(ids))
                answer = orjson.loads(ask(_body(order_id, goods)))
                _hold(answer["orders"] == [{"order_id": order_id, "verdict": "deducted", "short": []}], answer)

            def ask(body: bytes) -> bytes:
                asked.put(body)
                return bytes(next(answers))

            yield {UNARY: partial(deduct, partial(unary, timeout=_WITHIN)), STREAM: partial(deduct, ask)}
            asked.put(None)
        process.communicate()


def _want(goods: str) -> Want:
    return {"items": [{"goods_id": goods, "quantity": 1}]}


def _body(order_id: str, goods: str) -> bytes:
    return orjson.dumps({"tx_id": order_id, "orders": [{"order_id": order_id, **_want(goods)}]})


def _unused_ids(series: int) -> Iterator[int]:
    """Yield ids that no order has: of milliseconds a day ago."""
    return itertools.count(first_of(now_ms() - 86_400_000 * (1 + series)))


def _hold(what: bool, instead: object) -> None:
    if not what:
        raise CommandFailed(f"A call was not answered as it should be: {instead!r}")
