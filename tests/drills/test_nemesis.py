"""A few random runs for every change; many of them: ./scripts/drill random --runs 500 --seed 7."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.drill.backing import Embedded
from lab.drill.drill import ServerKind
from lab.drill.nemesis.campaign import FINAL, Campaign, Lane
from lab.drill.nemesis.checker import check
from lab.drill.nemesis.history import Final, load
from lab.drill.nemesis.plan import Fault, Kind
from lab.drill.nemesis.planner import make
from lab.drill.nemesis.run import HISTORY
from lab.drill.real import Real
from tests.stack import REAL, stack

pytestmark = [pytest.mark.drill, pytest.mark.P1, pytest.mark.P2, pytest.mark.P3, pytest.mark.P4, pytest.mark.P5]

_SEEDS = (29, 33)
_REAL_SEEDS = (32, 45)  # connections to RocketMQ are cut, messages repeated, what is parked is looked for
_STRETCH = 2.0  # of the limits: a machine that runs tests does other things too


@pytest.mark.timeout(300)  # two deployments, on real servers beside two other parts of CI
def test_random_runs(tmp_path: Path) -> None:
    """Whatever was killed, cut or frozen, every answer was true and everything settled within its limit."""
    campaign = Campaign(tmp_path / "runs", lambda seed: f"seed {seed}", str, shrink_for=0.0, keep_all=True)
    backing = Real(tmp_path, running=stack()) if REAL else Embedded()
    lane = Lane(tmp_path / "lane", backing, lambda _: None, _STRETCH)
    plans = [make(seed, ServerKind.REAL if REAL else ServerKind.EMBEDDED) for seed in (_REAL_SEEDS if REAL else _SEEDS)]
    at_failpoint = Fault(0.0, Kind.FAILPOINT, "order", settings={"failpoints": "order.committed=kill@2"})
    plans[0] = replace(plans[0], faults=[at_failpoint, *plans[0].faults])
    for run in campaign.play(plans, [lane]):
        assert run.passed, f"{run.wrong}\nevidence: {run.evidence}\nagain: {run.again}"
        assert run.answers["201"]
        assert not any(injection.skipped for injection in run.injections)
        kept = Path(campaign.directory, f"seed-{run.plan.seed}")
        final = Final.from_json(json.loads((kept / FINAL).read_text(encoding="utf-8")))
        assert check(load((kept / HISTORY).read_text(encoding="utf-8").splitlines()), final) == []
    assert not any((tmp_path / "lane").iterdir())


@pytest.mark.embedded("of the nemesis itself, which is the same on any servers")
def test_a_run_that_fails_leaves_its_deployment(tmp_path: Path) -> None:
    """Its databases and logs lie beside its history, and what was wrong in words."""
    before_it_began = -1.0  # a limit that no run keeps: one may be at rest when its last call is answered
    lane = Lane(tmp_path / "lane", Embedded(), lambda _: None, before_it_began)
    plan = replace(make(1, ServerKind.EMBEDDED), faults=[Fault(0.1, Kind.OUTAGE, "broker", 0.3)])
    run = lane.play(plan, tmp_path / "evidence")
    lane.close()
    assert [wrong.partition(":")[0] for wrong in run.wrong] == ["settled_in_time"]
    kept = tmp_path / "evidence"
    assert {"plan.json", "history.jsonl", "final.json", "wrong.txt"} <= {path.name for path in kept.iterdir()}
    assert (kept / "deployment" / "order.db").is_file()
    assert (kept / "deployment" / "log" / "order.log").is_file()
