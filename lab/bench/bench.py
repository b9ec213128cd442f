"""What every bench does with its system under test: put a load on it, and look at the ledger."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.bench.figures import Measured
from lab.bench.load import Job, Sample
from lab.bench.runner import Runner
from lab.bench.sut import SystemUnderTest
from lab.bench.wire import Requests

JUDGED_WITHIN = 60.0  # seconds for what a run left open to end


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often each load is put on (seconds)."""

    warm_up: float = 3.0
    seconds: float = 10.0
    runs: int = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """A system under test, what puts loads on it, how long and how often; `tell` is told what is measured now."""

    sut: SystemUnderTest
    runner: Runner
    effort: Effort
    tell: Callable[[str], None]

    def job(
        self,
        measured: Measured,
        requests: Requests,
        *,
        expect: int = 201,
        addresses: Sequence[tuple[str, int]] | None = None,
    ) -> Job:
        """Return a load on the order service, or on what listens at `addresses`."""
        effort = self.effort
        return Job(
            addresses or self.sut.addresses(),
            requests,
            measured.clients,
            effort.warm_up,
            effort.seconds,
            rate=measured.rate,
            expect=expect,
        )

    def measure(
        self,
        measured: Measured,
        requests: Requests,
        *,
        expect: int = 201,
        since: int | None = None,
        addresses: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        """Put the load on once more, and add the run to it; what it placed must be in the ledger, and all agree.

        It is put on the order service, or on what listens at `addresses`.

        What is looked at are the orders that are new, or those from the id `since` on.
        """
        number = f"run {len(measured.runs) + 1} of {self.effort.runs}"
        self.tell(f"{measured.title}: {number}")
        first = self.sut.judge.newest_order() + 1 if since is None else since

        def check(sample: Sample) -> list[str]:
            self.tell(f"{measured.title}: {number}, looking at the ledger")
            placed = sample.order_ids if expect == 201 else ()  # noqa: PLR2004 - Created
            return self.sut.judge.settle(placed, since=first, within=JUDGED_WITHIN)

        job = self.job(measured, requests, expect=expect, addresses=addresses)
        measured.runs.append(self.runner.run(job, self.sut.pids, check))


def fresh_keys() -> str:
    """Return the beginning of Idempotency-Keys that no request had before."""
    return f"bench-{time.time_ns():x}"
