"""`./scripts/bench reads`: what costs no new order. The same request again, an order, a page of orders."""

import random
from collections.abc import Sequence

from lab.bench.bench import Bench, fresh_keys
from lab.bench.figures import Measured
from lab.bench.load import Job
from lab.bench.wire import Requests, make_request
from ops.errors import CommandFailed

_KINDS = 100
_READ = 2000  # different orders, at most
_PAGE = 20
_SEED = 1
_CLIENTS = 16  # that place what is read
_OK, _CREATED = 200, 201


class ReadsBench:
    """Places orders of one user, each under an Idempotency-Key, and reads them."""

    def __init__(self, bench: Bench, seconds: float) -> None:
        """Place orders for so many seconds. Raise `CommandFailed` where one of them fails."""
        self._bench = bench
        sut = bench.sut
        placing = sut.orders(sut.new_goods(_KINDS), keys=fresh_keys(), users=1)
        bench.tell("placing the orders that are to be read")
        sample = bench.runner.submit(Job(sut.addresses(), placing, _CLIENTS, 0.0, seconds)).result()
        if sample.errors or not sample.order_ids:
            raise CommandFailed(f"The orders to be read could not be placed: {dict(sample.errors)}.")
        ids = list(sample.order_ids)
        chosen = random.Random(_SEED).sample(ids, min(len(ids), _READ))  # noqa: S311 - a load, not a secret
        token = sut.tokens[0]
        self._loads = {
            "the same request again": (Requests(placing.messages, placing.keys, sample.requests), _CREATED),
            "GET an order": (Requests([make_request("GET", f"/orders/{n}", token) for n in chosen]), _OK),
            f"GET {_PAGE} orders": (Requests([make_request("GET", f"/orders?limit={_PAGE}", token)]), _OK),
        }

    def measure(self, clients: Sequence[int]) -> list[Measured]:
        """Measure each kind of reading; that none makes a new order is looked at too."""
        loads = {
            (what, number): Measured(f"{what}, {number} clients", "closed", number, _KINDS)
            for what in self._loads
            for number in clients
        }
        newest = self._bench.sut.judge.newest_order()
        for _ in range(self._bench.effort.runs):
            for (what, _number), measured in loads.items():
                requests, expect = self._loads[what]
                self._bench.measure(measured, requests, expect=expect, since=0)
                if self._bench.sut.judge.newest_order() != newest:
                    measured.runs[-1].wrong.append(f"{what}: it made a new order")
        return list(loads.values())
