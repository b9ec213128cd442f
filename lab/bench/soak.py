"""`./scripts/bench soak`: very many orders, one process after another killed meanwhile, the ledger exact in the end."""

import random
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lab.bench.bench import JUDGED_WITHIN, Bench
from lab.bench.figures import Measured
from lab.bench.load import Sample
from ops.errors import CommandFailed

_KINDS = 100
_PATIENCE = 120.0  # seconds without any order placed


class SoakBench:
    """Places orders in rounds, each judged, and in the end all of them together."""

    def __init__(self, bench: Bench, clients: int, kill_every: float, seed: int) -> None:
        """Take the bench, and the seconds between two kills on average (0: no process is killed)."""
        self._bench, self._clients, self._every = bench, clients, kill_every
        self._chance = random.Random(seed)  # noqa: S311 - who is killed when, not a secret
        self._goods = bench.sut.new_goods(_KINDS)
        self._next_kill = time.monotonic() + self._pause()
        self.placed = array("q")  # ids of orders that got a 201
        self.kills: Counter[str] = Counter()

    def measure(self, orders: int) -> Measured:
        """Go on until so many orders got a 201. Raise `CommandFailed` where none did for minutes, `NotInTime`."""
        name = f"{self._clients} clients" + (", with kills" if self._every else "")
        measured = Measured(name, "closed", self._clients, _KINDS)
        last_success = time.monotonic()
        while len(self.placed) < orders:
            before = len(self.placed)
            self._round(measured, orders)
            if len(self.placed) > before:
                last_success = time.monotonic()
            elif time.monotonic() > last_success + _PATIENCE:
                raise CommandFailed(f"No order was placed for {_PATIENCE:g} s: the logs of the services tell why.")
        return measured

    def judge(self) -> list[str]:
        """Return what is wrong with all orders together."""
        self._bench.tell(f"looking at the ledger of all {len(self.placed):,} orders")
        return self._bench.sut.judge.settle(self.placed, within=JUDGED_WITHIN)

    def _round(self, measured: Measured, orders: int) -> None:
        bench, sut = self._bench, self._bench.sut
        killed = sum(self.kills.values())
        bench.tell(f"{len(self.placed):,} of {orders:,} orders placed, {killed} processes killed")
        first = sut.judge.newest_order() + 1

        def check(sample: Sample) -> list[str]:
            self.placed.extend(sample.order_ids)
            return sut.judge.settle(sample.order_ids, since=first, within=JUDGED_WITHIN)

        job = bench.job(measured, sut.orders(self._goods))
        with self._killing():
            measured.runs.append(bench.runner.run(job, sut.pids, check))

    @contextmanager
    def _killing(self) -> Iterator[None]:
        """Kill while the block runs; at its end everybody is there again."""
        over = threading.Event()
        with ThreadPoolExecutor(1, thread_name_prefix="killing") as pool:
            killing = pool.submit(self._kill_until, over)
            try:
                yield
            finally:
                over.set()
            killing.result()

    def _kill_until(self, over: threading.Event) -> None:
        while self._every and not over.wait(max(0.0, self._next_kill - time.monotonic())):
            victim = self._chance.choice(self._bench.sut.victims)
            self._bench.sut.kill(victim)
            self.kills[victim] += 1
            self._next_kill = time.monotonic() + self._pause()

    def _pause(self) -> float:
        return self._every * self._chance.uniform(0.5, 1.5)
