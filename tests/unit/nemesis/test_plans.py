"""Plans of random runs: made from a seed alone, kept as JSON, made smaller when they fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.failpoints import POINTS
from lab.drill.drill import ServerKind
from lab.drill.nemesis.campaign import SHRUNK, Campaign, Lane
from lab.drill.nemesis.plan import ALL, LINK_KINDS, REQUESTS, ROLLBACKS, TIMEOUTS, Fault, Kind, Op, Plan
from lab.drill.nemesis.planner import make
from lab.drill.nemesis.regimes import BY_NAME, PROCESSES, REGIMES
from lab.drill.nemesis.run import Run
from lab.drill.nemesis.shrink import shrink
from ops.errors import CommandFailed

_MANY = range(600)


@pytest.mark.parametrize("servers", [ServerKind.EMBEDDED, ServerKind.REAL])
def test_the_same_seed_is_the_same_plan(servers: ServerKind) -> None:
    """Nothing but the seed and the kind of servers goes into a plan."""
    assert make(7, servers).as_json() == make(7, servers).as_json()
    assert make(7, servers).as_json() != make(8, servers).as_json()


def test_the_same_seed_is_the_same_plan_in_another_process() -> None:
    """Python's hash seed, which differs from process to process, does not go into it."""
    program = (
        "import json; from lab.drill.nemesis.planner import make; print(json.dumps(make(7, 'embedded').as_json()))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert json.loads(told[0]) == json.loads(told[1]) == json.loads(json.dumps(make(7, ServerKind.EMBEDDED).as_json()))


def test_a_plan_survives_its_file() -> None:
    """What is replayed from a file is what was played."""
    plan = make(7, ServerKind.REAL)
    document = json.loads(json.dumps(plan.as_json()))
    assert json.loads(json.dumps(Plan.from_json(document).as_json())) == document
    assert Plan.from_json(document).faults == tuple(plan.faults)


@pytest.mark.parametrize("servers", [ServerKind.EMBEDDED, ServerKind.REAL])
def test_plans_try_everything(servers: ServerKind) -> None:
    """Every operation, every kind of fault and every regime comes up, at targets that exist."""
    plans = [make(seed, servers) for seed in _MANY]
    faults = [fault for plan in plans for fault in plan.faults]
    calls = [call for plan in plans for client in plan.clients for step in client.steps for call in step.calls]
    assert {call.op for call in calls} == set(Op)
    assert {call.coupon for call in calls if call.op is Op.PLACE} == {None, *range(len(plans[0].coupons))}
    assert {fault.kind for fault in faults} == set(Kind)
    assert {plan.regime for plan in plans} == set(BY_NAME) == {regime.name for regime in REGIMES}
    assert {fault.target for fault in faults if fault.kind is Kind.KILL} == set(PROCESSES)
    assert all(">" in fault.target for fault in faults if fault.kind in LINK_KINDS)
    assert {fault.target for fault in faults if fault.kind is Kind.DISK} == {*PROCESSES, ALL}
    stopped = {"broker", "namesrv", "mariadb", "redis"} if servers is ServerKind.REAL else {"broker", "database"}
    assert {fault.target for fault in faults if fault.kind is Kind.OUTAGE} == stopped
    assert {fault.target for fault in faults if fault.kind is Kind.REPEAT} == {ROLLBACKS, TIMEOUTS, REQUESTS}
    points = {f.settings["failpoints"].partition("=")[0] for f in faults if f.kind is Kind.FAILPOINT}
    assert points <= POINTS
    assert any(point.startswith("request.") for point in points)
    assert any(point.startswith("purchase.") for point in points)
    sales = [{call.sale for client in plan.clients for step in client.steps for call in step.calls} for plan in plans]
    assert {len(names - {""}) for names in sales} == {0, 1, 2}


def _plan(faults: int = 8, clients: int = 6) -> Plan:
    plan = make(1, ServerKind.EMBEDDED)
    return replace(
        plan,
        faults=[Fault(number / 10, Kind.KILL, f"target-{number}") for number in range(faults)],
        clients=[replace(plan.clients[0], name=f"c{number}") for number in range(clients)],
    )


def _fails_with(targets: set[str], names: set[str]) -> "_Runner":
    return _Runner(targets, names)


class _Runner:
    """Fails whenever some faults meet some clients."""

    def __init__(self, targets: set[str], names: set[str]) -> None:
        self.targets, self.names = targets, names
        self.clock = 0.0

    def __call__(self, plan: Plan) -> bool:
        self.clock += 4.0
        hit = self.targets <= {fault.target for fault in plan.faults}
        return hit and self.names <= {client.name for client in plan.clients}


def test_a_failing_plan_shrinks_to_what_makes_it_fail() -> None:
    """Faults and clients that have nothing to do with it are left out."""
    runner = _fails_with({"target-2", "target-5"}, {"c3"})
    found = shrink(_plan(), runner, within=1000.0, now=lambda: runner.clock)
    assert [fault.target for fault in found.plan.faults] == ["target-2", "target-5"]
    assert [client.name for client in found.plan.clients] == ["c3"]


def test_a_plan_that_fails_by_itself_keeps_one_client() -> None:
    """Where no fault is needed none is left, and a client still calls."""
    runner = _fails_with(set(), set())
    found = shrink(_plan(), runner, within=1000.0, now=lambda: runner.clock)
    assert found.plan.faults == []
    assert len(found.plan.clients) == 1


def test_shrinking_ends_in_time() -> None:
    """When the time is up, the smallest plan found by then is the result."""
    runner = _fails_with({"target-7"}, set())
    found = shrink(_plan(), runner, within=6.0, now=lambda: runner.clock)
    assert [fault.target for fault in found.plan.faults] == [f"target-{number}" for number in range(4, 8)]
    assert runner.clock == 8.0
    assert found.tries == 2


def test_what_never_fails_again_stays_as_it_is() -> None:
    """A failure that does not come again is reported with its whole plan."""
    plan = _plan()
    assert shrink(plan, lambda _: False, within=1000.0).plan is plan


class _FakeLane(Lane):
    """Plays nothing; fails plans that kill target-1."""

    def __init__(self) -> None:
        self.closed = False

    def play(self, plan: Plan, evidence: Path) -> Run:
        evidence.mkdir(parents=True, exist_ok=True)
        if not plan.clients:
            raise CommandFailed("broken lane")
        failed = any(fault.target == "target-1" for fault in plan.faults)
        return Run(plan, 5.0, ["a lie"] if failed else [], evidence=str(evidence) if failed else None)

    def close(self) -> None:
        self.closed = True


def _campaign(directory: Path, **how: bool) -> Campaign:
    return Campaign(directory, lambda seed: f"again {seed}", lambda file: f"replay {file}", **how)


def test_a_failing_run_keeps_its_evidence_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    """The shrunk plan lies beside the evidence and is what is repeated; what passed leaves nothing."""
    lane = _FakeLane()
    plans = [replace(_plan(), seed=3), replace(_plan(faults=1), seed=4)]
    runs = {run.plan.seed: run for run in _campaign(tmp_path).play(plans, [lane])}
    file = tmp_path / "seed-3" / SHRUNK
    assert not runs[3].passed
    assert runs[3].again == f"replay {file}"
    shrunk = Plan.from_json(json.loads(file.read_text()))
    assert [fault.target for fault in shrunk.faults] == ["target-1"]
    assert len(shrunk.clients) == 1
    assert runs[4].passed
    assert runs[4].again == "again 4"
    assert [path.name for path in tmp_path.iterdir()] == ["seed-3"]
    assert lane.closed


def test_what_is_asked_to_be_kept_is_kept(tmp_path: Path) -> None:
    """With `keep_all`, what passed leaves its history too: a person with a checker of their own wants it."""
    list(_campaign(tmp_path, keep_all=True).play([replace(_plan(faults=1), seed=4)], [_FakeLane()]))
    assert [path.name for path in tmp_path.iterdir()] == ["seed-4"]


def test_a_lane_that_breaks_is_told(tmp_path: Path) -> None:
    """Other errors than a run's own end the campaign; they are not taken for a verdict."""
    lane = _FakeLane()
    with pytest.raises(CommandFailed, match="broken lane"):
        list(_campaign(tmp_path).play([_plan(clients=0)], [lane]))
    assert lane.closed
