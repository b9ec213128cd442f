"""One drill as it runs: its system under test, with every step, fault and claim written down as it happens."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import urllib3

from console.story import Story
from halfmessage.clock import now_ms
from halfmessage.ids import first_of
from halfmessage.mq.port import Console, Producer
from lab.drill import pending
from lab.drill.backing import Backing
from lab.drill.event_log import Broken, EventLog, in_words
from lab.drill.result import Event, Kind
from lab.drill.sut import STOCK, SystemUnderTest, sale_terms
from lab.judge.invariant import Invariant
from lab.judge.judge import Judge
from ops import stories
from ops.client import Answer, Unreachable
from ops.errors import NotInTime
from ops.waiting import wait_for
from order.clients.flash import FlashClient
from order.clients.participant import EVERY_ORDER, client_of
from order.clients.stock import StockClient

__all__ = ["Broken", "DrillRun", "in_words"]

T = TypeVar("T")
PIECES = 2  # that `DrillRun.place` orders
_TOLD = 5  # looks at what is still on its way, in one wait; the others are not told
_LOOK_EVERY = 0.1  # seconds; a look at all books takes as long, of a processor that those who settle need


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw: what is `left`, in words, and the invariants, which are not asked for while messages move."""

    left: list[str]
    invariants: list[Invariant] = field(default_factory=list)


class DrillRun(EventLog):
    """One drill's goods, user and record of events on a running system under test."""

    def __init__(
        self,
        sut: SystemUnderTest,
        backing: Backing,
        limit: float,
        tell: Callable[[Event], None],
        *,
        stretch: float = 1.0,
    ) -> None:
        """Play on `sut`; everything is to be settled `limit` seconds after the last fault. `tell` gets each event.

        `stretch` is in `limit` already; a drill multiplies by it what it holds against a limit of its own.
        """
        super().__init__(tell)
        self.sut, self.backing, self.limit, self.stretch = sut, backing, limit, stretch
        self.began_at = now_ms()
        self.supervisor = sut.supervisor
        self.order_id: str | None = None
        self.coupon_id: str | None = None  # that orders are placed with from now on
        self.sale_id: str | None = None  # in which orders are bought from now on
        self.recovery: float | None = None
        self._armed: dict[str, int] = {}
        self._left_over: list[str] = []
        self._unused = itertools.count(2048)
        self.user = sut.user()
        self.goods_id = sut.new_goods()

    def wait(self, what: str, look: Callable[[], T | None], *, within: float = 20.0, every: float = 0.02) -> T:
        """Wait for something that must come, looking `every` so many seconds. Raise `NotInTime`."""
        return wait_for(what, look, within=within, every=every)

    # What is done to processes

    def arm(self, process: str, failpoints: str, **settings: str | float) -> int:
        """Restart a process with failpoints and settings for this one life; return its pid."""
        pid = self.sut.arm(process, failpoints, **{name: str(value) for name, value in settings.items()})
        self._armed[process] = pid
        given = [failpoints, *(f"{name}={value}" for name, value in settings.items())]
        self.say(f"{process} (pid {pid}) runs with {', '.join(filter(None, given))}")
        return pid

    def restart(self, process: str, environment: Mapping[str, str], why: str) -> None:
        """Restart a process with further variables for this one life; return once it is ready."""
        self.supervisor.restart(process, extra_env=environment)
        self.supervisor.wait_ready(process)
        self._armed[process] = self.supervisor.pid(process) or 0
        self.say(f"{process} (pid {self._armed[process]}) is started with {why}")

    def died(self, process: str, pid: int, where: str) -> None:
        """Wait until a process that was to kill itself at a failpoint has. Raise `NotInTime`."""
        self.supervisor.wait_gone(pid, within=20.0)
        self.fault(f"{process} (pid {pid}) was killed by SIGKILL at {where}")

    def kill(self, process: str) -> int:
        """End a process with SIGKILL; return the pid it had."""
        pid = self.sut.kill(process) or 0
        self.supervisor.wait_gone(pid)
        self.fault(f"{process} (pid {pid}) was killed by SIGKILL")
        return pid

    def take_down(self, process: str) -> int:
        """End a process with SIGKILL and keep it down, as a machine that is lost; return the pid it had."""
        self.supervisor.hold(process)
        return self.kill(process)

    def bring_back(self, process: str) -> None:
        """Start a process that was taken down; recovery is counted from here."""
        self.supervisor.release(process)
        self.mended(f"{process} is started again")

    def back(self, process: str, pid: int) -> None:
        """Wait until the successor of a process that died is ready."""
        self.sut.survived(process, pid)
        self.say(f"{process} is ready again (pid {self.supervisor.pid(process)})")

    def reached(self, process: str, point: str) -> None:
        """Wait until an armed process is held up at a failpoint: it logs that. Raise `NotInTime`."""
        log = self.sut.deployment.directory.root / "log" / f"{process}.log"
        mark = f'"failpoint":"{point}","pid":{self._armed[process]}'.encode()
        self.wait(f"{process} to reach {point}", lambda: mark in log.read_bytes())
        self.say(f"{process} is at {point}")

    @contextmanager
    def outage(self, server: str) -> Iterator[None]:
        """Have the `broker` or the `database` gone while the body runs; recovery is counted from its end."""
        with self.backing.outage(server, self.sut.deployment.directory.root) as words:
            self.fault(words)
            yield
        self.mended(f"the {server} is there again")

    @contextmanager
    def meanwhile(self, work: Callable[[], T]) -> Iterator[Callable[[], T]]:
        """Run `work` beside what follows; yields what waits for its result."""
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            yield lambda: future.result(timeout=60)

    def disarm(self) -> None:
        """Restart every process that lives with failpoints or settings of this drill; return once they are ready.

        One that died of them and stays dead is started again. Raise `NotInTime`.
        """
        for process, pid in self._armed.items():
            self.supervisor.release(process)
            if self.supervisor.pid(process) == pid:
                self.supervisor.restart(process)
        for process in self._armed:
            self.supervisor.wait_ready(process)
        self._armed.clear()

    def pause(self, seconds: float) -> None:
        """Let a fault last: that is the fault, no waiting for something."""
        self.say(f"{seconds:g} s pass")
        threading.Event().wait(seconds)

    # What clients do

    def stock(self, pieces: int) -> None:
        """Have so many pieces of the drill's goods."""
        self.sut.admin.put("stock", f"/stock/{self.goods_id}", {"total": pieces})

    @cached_property
    def console(self) -> Console:
        """What looks at messages."""
        return pending.console(self.sut.deployment, self.sut.broker)

    @cached_property
    def producer(self) -> Producer:
        """What sends messages as the order service does."""
        return self.sut.broker.producer("order")

    def unused_id(self) -> str:
        """Return an order id that no order has, a minute old: its transaction is past its deadline."""
        return str(first_of(now_ms() - 60_000) + next(self._unused))

    def metrics(self, process: str) -> str:
        """Return what GET /metrics says."""
        headers = {"Authorization": f"Bearer {self.sut.deployment.token('drill', ['admin'])}"}
        url = self.sut.deployment.plan.urls[process] + "/metrics"
        return urllib3.request("GET", url, headers=headers, timeout=10.0, retries=False).data.decode()

    def place(self, *, at: str = "order", user: str | None = None) -> Answer | None:
        """Order two pieces; None if the connection was cut."""
        answer = self.sut.place(user or self.user, self.goods_id, at=at, coupon_id=self.coupon_id)
        if answer is not None and "order_id" in (answer.body or {}):
            self.order_id = answer.body["order_id"]
        self.answered("POST /orders", answer)
        return answer

    def submit(self) -> Answer | None:
        """Submit an order of two pieces, to be placed soon; None if the connection was cut."""
        answer = self.sut.submit(self.user, self.goods_id)
        self.answered("POST /orders, Prefer: respond-async", answer)
        return answer

    def buy(self) -> Answer | None:
        """Buy two pieces in the drill's sale; None if the connection was cut."""
        answer = self.sut.buy(self.user, self.sale_id or "")
        self.answered("POST /flash-sales/{id}/orders", answer)
        return answer

    def open_sale(self) -> Answer | None:
        """Try to open a sale of all pieces there are; None if the connection was cut."""
        body = sale_terms(self.goods_id, STOCK)
        try:
            answer = self.sut.admin.ask("flash", "POST", "/flash-sales", json_body=body)
        except Unreachable:
            answer = None
        self.answered("POST /flash-sales", answer)
        return answer

    def close_sales(self) -> Answer | None:
        """Close the sales of the drill's goods; return the last answer, None if the connection was cut."""
        answer = None
        for sale in self.sut.sales(self.goods_id):
            try:
                answer = self.sut.admin.ask("flash", "POST", f"/flash-sales/{sale['sale_id']}/close")
            except Unreachable:
                answer = None
            self.answered("POST /flash-sales/{id}/close", answer)
        return answer

    def needing(self, participant: str) -> None:
        """From now on, place orders that need this participant: with a coupon, or bought in a sale of all pieces."""
        client = client_of(participant)
        if client is FlashClient:
            self.sale_id = self.sut.new_sale(self.goods_id)
        elif client.needed is not EVERY_ORDER and client is not StockClient:
            self.coupon_id = self.sut.new_coupon()

    def placed(self, *, at: str = "order", user: str | None = None) -> str:
        """Place an order that must be accepted, or buy one in the drill's sale; return its id."""
        if self.sale_id is not None:
            return self._bought()
        answer = self.place(at=at, user=user)
        if answer is None or answer.status != 201:  # noqa: PLR2004 - Created
            raise Broken("An order was to be accepted before anything was broken.")
        return str(answer.body["order_id"])

    def _bought(self) -> str:
        answer = self.buy()
        if answer is None or answer.status != 202:  # noqa: PLR2004 - Accepted
            raise Broken("A purchase was to be taken in before anything was broken.")
        where = answer.headers["location"]

        def placed() -> str | None:
            with self.sut.deployment.client(self.user, ["orders"]) as client:
                found = client.get("order", where)["order_id"]
            return None if found is None else str(found)

        self.order_id = self.wait("the purchase to be an order", placed)
        return self.order_id

    def accepted(self) -> str:
        """Wait until an order is accepted again, for as long as the drill allows; return its id. Raise `NotInTime`."""

        def look() -> str | None:
            answer = self.sut.place(self.user, self.goods_id)
            return str(answer.body["order_id"]) if answer is not None and answer.status == 201 else None  # noqa: PLR2004 - Created

        return self.wait("orders to be accepted", look, within=self.limit)

    def change(
        self, order_id: str, action: str, body: Any = None, *, at: str = "order", user: str | None = None
    ) -> Answer | None:
        """Pay, cancel or return an order; None if the connection was cut."""
        answer = self.sut.call(user or self.user, f"/orders/{order_id}/{action}", body, at=at)
        self.answered(f"POST /orders/{{id}}/{action}", answer)
        return answer

    def answered(self, what: str, answer: Answer | None) -> None:
        """Write down what a client was told."""
        self.say(f"{what}: {in_words(answer)}", Kind.ANSWER)

    def shown(self, order_id: str) -> dict[str, Any]:
        """Return an order of the user's as it is shown."""
        with self.sut.deployment.client(self.user, ["orders"]) as client:
            return dict(client.get("order", f"/orders/{order_id}"))

    def statuses(self) -> list[str]:
        """Return the statuses of the user's orders, the newest first."""
        found, query = [], {"limit": "100"}
        with self.sut.deployment.client(self.user, ["orders"]) as client:
            while True:
                page = client.get("order", "/orders", **query)
                found += [str(order["status"]) for order in page["items"]]
                if page["next_cursor"] is None:
                    return found
                query["cursor"] = page["next_cursor"]

    def available(self) -> int:
        """Return how many pieces are left: at stock, and in sales of these goods."""
        in_sales = sum(int(sale["left"] or 0) for sale in self.sut.sales(self.goods_id)) if self.sale_id else 0
        return self.sut.available(self.goods_id) + in_sales

    # How it ends

    def settle(self, *, limit: float | None = None, but: Sequence[str] = ()) -> None:
        """Wait until nothing is on its way and every invariant holds, and hold the time it took against the limit.

        What is told with a word of `but`, such as an order's id, may be as it is. Raise `Broken`.
        """
        limit = self.limit if limit is None else limit
        told = list[str]()

        def tell(left: Sequence[str]) -> None:
            """Tell what is seen to heal, as long as it is not much."""
            words = f"not settled yet: {left[0]}" + (f", and {len(left) - 1} more" if len(left) > 1 else "")
            if words not in told and len(told) < _TOLD:
                told.append(words)
                self.say(words)

        left = self._rest(4 * limit, but=but, tell=tell).left
        if left:
            raise Broken(f"Not settled {4 * limit:g} s after the last fault: {'; '.join(left[:5])}.")
        recovery = self.since_last_fault
        self.recovery = max(recovery, self.recovery or 0.0)
        self.say(f"settled {recovery:.1f} s after the last fault", Kind.SETTLED)
        if recovery > limit:
            raise Broken(f"Settled {recovery:.1f} s after the last fault; the limit is {limit:g} s.")

    def rest(self) -> Look:
        """Look at what is still on its way, once more given the time it may take.

        RocketMQ hides a message that a consumer took and died over until it delivers it again. So one of an earlier
        drill may come up at any time, and one look at which nothing is on its way has to do.
        """
        return self._rest(self.limit)

    def _rest(
        self, within: float, *, but: Sequence[str] = (), tell: Callable[[Sequence[str]], None] = lambda _: None
    ) -> Look:
        """Wait until nothing is on its way, each look told; return the last one."""
        last = Look([])

        def look() -> bool:
            nonlocal last
            last = self.look(but=but)
            if last.left:
                tell(last.left)
            return not last.left

        with suppress(NotInTime):
            self.wait("everything to be at rest", look, within=within, every=_LOOK_EVERY)
        return last

    def leave(self, word: str, why: str) -> None:
        """Leave messages that are told with this word as they are: the drill ends with them, and says why."""
        self._left_over.append(word)
        self.say(why)

    def look(self, *, but: Sequence[str] = ()) -> Look:
        """Look at what is on its way or does not agree; not at what is told with a word of `but`."""
        spared = [*but, *self._left_over]

        def counts(line: str) -> bool:
            return not any(word in line for word in spared)

        moving = list(filter(counts, pending.unsettled(self.sut.deployment, self.sut.broker)))
        if moving:
            return Look(moving)
        judged = Judge.of(self.sut.deployment).invariants()
        return Look([line for one in judged for line in one.broken if counts(line)], judged)

    def stands(self, *statuses: str) -> None:
        """Hold, at rest, that the user's orders have exactly these statuses, and the stock follows."""
        self.stands_with_stock(STOCK, *statuses)

    def stands_with_stock(self, pieces: int, *statuses: str) -> None:
        """Hold the same, where the goods have so many pieces."""
        standing = sum(status in {"created", "paid"} for status in statuses)
        self.same("the client's orders", _tally(self.statuses()), _tally(statuses))
        self.same("pieces available", self.available(), pieces - PIECES * standing)

    def concerns(self) -> str | None:
        """Return the order whose story is told: that of the last answer, or the last that stock heard of."""
        if self.order_id is not None:
            return self.order_id
        newest = Judge.of(self.sut.deployment).newest_reservation(first_of(self.began_at))
        return None if newest is None else str(newest)

    def story(self) -> Story | None:
        """Return that order's story, None where there is no such order. Raise `OrdersError` where it can't be had."""
        order_id = self.concerns()
        return None if order_id is None else stories.fetch(self.sut.admin, order_id)


def _tally(statuses: Sequence[str]) -> str:
    """Return statuses, newest first, in words: each counted where there are many."""
    if len(statuses) <= 5:  # noqa: PLR2004 - as many as a reader takes in
        return ", ".join(statuses) or "none"
    return ", ".join(f"{number} {status}" for status, number in sorted(Counter(statuses).items()))
