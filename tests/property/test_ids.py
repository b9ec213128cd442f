"""Ids under any clocks: several processes, each with a clock that is set back and forth, paused, ended and started."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import MetaData, delete

from common.db import Database
from halfmessage import ids as ids_module
from halfmessage.errors import ClockWentBack, LeaseLost
from halfmessage.ids import LeasedIds, lease_table

METADATA = MetaData()
LEASES = lease_table(METADATA)
PROCESSES = 3
LEASE = 15_000  # ms
START = 1_800_000_000_000

processes = st.integers(0, PROCESSES - 1)
steps = st.one_of(
    st.integers(-2_000, 2_000),
    st.sampled_from([-3_600_000, 3_600_000, -LEASE, LEASE, LEASE + 1_001, -501, -500, 1]),
    st.integers(-2 * LEASE, 2 * LEASE),
)


class Clocks(RuleBasedStateMachine):
    """Processes on one table of leases; a pause is a clock that went on while nothing was done."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.database = database
        database.transact(lambda connection: connection.execute(delete(LEASES)))
        self.clocks = [START] * PROCESSES
        self.jumps: list[int] = []
        self.at = 0
        self.running: list[LeasedIds | None] = [None] * PROCESSES
        self.issued: set[int] = set()
        monkeypatch.setattr(ids_module, "now_ms", self.now)

    def now(self) -> int:
        """Read the clock of the process that is at work; it may be set between two readings."""
        now = self.clocks[self.at]
        if self.jumps:
            self.clocks[self.at] += self.jumps.pop()
        return now

    def process(self, number: int, jumps: list[int]) -> LeasedIds | None:
        self.at, self.jumps = number, list(jumps)
        return self.running[number]

    @rule(number=processes, jumps=st.lists(steps, max_size=2))
    def start(self, number: int, jumps: list[int]) -> None:
        """Start it; one that runs is killed before, as by SIGKILL."""
        self.process(number, jumps)
        self.running[number] = LeasedIds(self.database, f"process {number}", lease_seconds=LEASE / 1000)
        self.running[number]._acquire()

    @rule(number=processes, step=steps)
    def set_clock(self, number: int, step: int) -> None:
        self.clocks[number] += step

    @rule(step=st.integers(1, 2 * LEASE))
    def time_passes(self, step: int) -> None:
        self.clocks = [clock + step for clock in self.clocks]

    @rule(number=processes, jumps=st.lists(steps, max_size=3))
    def renew(self, number: int, jumps: list[int]) -> None:
        if (ids := self.process(number, jumps)) is not None:
            ids.renew()

    @rule(number=processes, jumps=st.lists(steps, max_size=3), count=st.integers(1, 5))
    def issue(self, number: int, jumps: list[int], count: int) -> None:
        ids = self.process(number, jumps)
        for _ in range(count if ids is not None else 0):
            with suppress(LeaseLost, ClockWentBack):
                one = ids.next()
                assert one not in self.issued
                assert 0 < one < 2**63
                self.issued.add(one)

    @rule(number=processes, jumps=st.lists(steps, max_size=1))
    def close(self, number: int, jumps: list[int]) -> None:
        if (ids := self.process(number, jumps)) is not None:
            ids.close()
            self.running[number] = None

    @rule(number=processes)
    def comes_back(self, number: int) -> None:
        """Whatever was done to clocks: one renewal under a clock that stands still, and there are ids."""
        if (ids := self.process(number, [])) is not None:
            ids.renew()
            self.issue(number, [], 1)
            ids.ask()


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        database = Database(f"sqlite:///{directory}/ids.db")
        METADATA.create_all(database.engine)
        yield database
        database.close()


def test_no_id_is_issued_twice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """By any processes, whatever their clocks say."""
    run_state_machine_as_test(
        lambda: Clocks(database, monkeypatch),
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
