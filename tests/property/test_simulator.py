"""The simulator: runs of the services' own code are sound, repeat to the byte, and find what is planted."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import edn_format
import pytest
import structlog

from halfmessage import db, failpoints
from halfmessage.clock import now_ms
from lab.drill.nemesis import jepsen
from lab.simulate.asked import TAKEN, faults
from lab.simulate.coupons import OFF
from lab.simulate.faults import FAILPOINTS, OF_PROVIDER, PAY_FAILPOINTS, RETURN_FAILPOINTS, Fault, Trigger
from lab.simulate.history import History
from lab.simulate.plan import Plan, plan_of
from lab.simulate.run import Outcome, Simulator
from lab.simulate.scheduler import Dead
from lab.simulate.shrinking import shrunk
from lab.simulate.telling import timeline
from lab.simulate.templates import templates

# A thread that another test left in this process meets the scheduler's names while a run lasts, and ends of it: see
# `test_a_thread_of_others_has_no_part_in_a_run`.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

ROOT = Path(__file__).parents[2]
SEEDS = 25


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with templates() as files:
        made = Simulator(files)
        with made.ready():
            yield made


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", "simulate", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def with_fault(seed: int, *faults: Fault) -> Plan:
    """Return the run of a seed, with one order and nothing else going wrong."""
    plan = plan_of(seed)
    wish = replace(plan.wishes[0], coupon_id=None, then="", twin="", again_after=None)
    return replace(plan, wishes=[wish], faults=faults, pay_timeout=7.0, processes=1)


def with_pay(*faults: Fault, scenario: str = "card", then_after: float = 0.5) -> Plan:
    """Return a run of one order, which is paid through the provider; it stands for 7 s."""
    plan = with_fault(3, *faults)
    wish = replace(plan.wishes[0], at=0.5, has_key=True, then="pay", then_after=then_after, scenario=scenario)
    return replace(plan, wishes=[wish], pays=True, sweeps=True, sweep_every=5.0)


def events(outcome: Outcome, what: str) -> list[dict[str, Any]]:
    return [event for line in outcome.history.lines() if (event := json.loads(line))["what"] == what]


def test_runs_are_sound(simulator: Simulator) -> None:
    """Whatever goes wrong, once all is at rest nothing disagrees, and every answer was true."""
    outcomes = [simulator.run(plan_of(seed)) for seed in range(SEEDS)]
    assert [(one.plan.seed, one.wrong) for one in outcomes if one.wrong] == []
    assert sum(len(one.struck) for one in outcomes) > SEEDS
    assert {fault.kind for one in outcomes for fault in one.struck} >= {"crash", "delay"}


def test_the_same_seed_is_the_same_history(simulator: Simulator) -> None:
    """To the byte, whatever runs were made in between."""
    first = [simulator.run(plan_of(seed)).history.digest() for seed in range(5)]
    simulator.run(plan_of(99))
    assert [simulator.run(plan_of(seed)).history.digest() for seed in range(5)] == first
    assert len(set(first)) == len(first)


def test_a_thread_of_others_has_no_part_in_a_run(simulator: Simulator) -> None:
    """Whatever of the product it calls meanwhile: it was begun before, by another test, say."""
    alone = [simulator.run(plan_of(seed)).history.digest() for seed in range(3)]
    over, turns = threading.Event(), 0

    def meddle() -> None:
        nonlocal turns
        while not over.is_set():
            for act in (
                lambda: failpoints.hit("order.half_sent"),
                lambda: db.time.sleep(0.001),  # type: ignore[attr-defined] # as `halfmessage.db` calls it
                lambda: structlog.get_logger().warning("none of the run's"),
                now_ms,
            ):
                with suppress(Dead):
                    act()
            turns += 1

    other = threading.Thread(target=meddle)
    other.start()
    try:
        beside = [simulator.run(plan_of(seed)).history.digest() for seed in range(3)]
    finally:
        over.set()
        other.join()
    assert beside == alone
    assert turns > 100


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    """Two processes of the command line, one after the other."""
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        edn = file.with_suffix(".edn")
        assert simulate("--seed", "7", "--history", str(file), "--edn", str(edn)).returncode == 0
        last = edn_format.loads(edn.read_text().splitlines()[-1])
        assert last[edn_format.Keyword("f")] == edn_format.Keyword("final")
    first, second = (file.read_bytes() + file.with_suffix(".edn").read_bytes() for file in files)
    assert first == second
    assert first.count(b"\n") > 50


def test_what_clients_were_told_is_told_as_drills_tell_it(simulator: Simulator) -> None:
    """For checkers of others: an answer that is lost is an outcome that nobody knows, and a fault is the nemesis's."""
    plan = with_pay(Fault(Trigger.CALL, "order", 1, "answer-lost"), Fault(Trigger.TIME, "stock", 2, "freeze", 1.5))
    outcome = simulator.run(plan)
    lines = jepsen.operations(outcome.asked, faults(outcome), outcome.final)
    told = [(line["type"], line["f"]) for line in lines if line["process"] is not jepsen.NEMESIS]
    assert told[:3] == [("invoke", "place"), ("invoke", "place"), ("ok", "place")]
    assert ("info", "place") in told[3:]
    assert told[-2:] == [("invoke", "final"), ("ok", "final")]
    (paid,) = [line for line in lines if (line["type"], line["f"]) == ("ok", "pay")]
    assert [order["order_id"] for order in lines[-1]["value"]["orders"]] == [paid["value"]["order_id"]]
    frozen = [line["time"] for line in lines if line["f"] == "freeze"]
    assert frozen == [2_000_000_000, 3_500_000_000]


def test_a_refusal_is_told_as_rest_does(simulator: Simulator) -> None:
    """By the type of its problem: another's order is not found. A message that says that an order is paid is a call."""
    plan = with_fault(3)
    wish = replace(plan.wishes[0], quantity=1)
    wishes = [replace(wish, number=1, then="stranger"), replace(wish, number=2, then="pay")]
    entries = simulator.run(replace(plan, wishes=wishes, pays=False)).asked
    strangers = [(entry.status, entry.slug) for entry in entries if entry.user == "a stranger"]
    assert strangers == [(404, "not-found")]
    assert [entry.status for entry in entries if entry.op == "tell-paid"] == [TAKEN]


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "fail-before", "fail-after"])
def test_a_commit_goes_either_way(simulator: Simulator, kind: str) -> None:
    """Where the process dies in COMMIT, or the answer is lost, what was written is there or is not: both is right."""
    for nth in (4, 5, 6):
        outcome = simulator.run(with_fault(1, Fault(Trigger.COMMIT, "order", nth, kind)))
        assert not outcome.wrong
        assert [fault.kind for fault in outcome.struck] == [kind]


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "fail-before", "fail-after"])
def test_the_commit_after_a_failpoint_goes_either_way(simulator: Simulator, kind: str) -> None:
    """It is the one of the thread that came by, whichever number it has."""
    outcome = simulator.run(with_fault(1, Fault(Trigger.FAILPOINT, "order.before_commit", 1, kind)))
    assert not outcome.wrong
    assert [fault.kind for fault in outcome.struck] == [kind]
    assert events(outcome, "dies") or kind.startswith("fail")


@pytest.mark.parametrize("point", [point for point in FAILPOINTS if point.startswith("order.")])
def test_a_crash_at_a_failpoint_is_survived(simulator: Simulator, point: str) -> None:
    """The process dies, starts again, and all is settled."""
    outcome = simulator.run(with_fault(3, Fault(Trigger.FAILPOINT, point, 1, "crash")))
    assert not outcome.wrong
    assert len(events(outcome, "dies")) == len(outcome.struck)


@pytest.mark.parametrize("kind", ["refused", "lost", "answer-lost", "cut", "twice", "late"])
def test_a_call_goes_wrong(simulator: Simulator, kind: str) -> None:
    """Each way, at the call that takes the stock."""
    outcome = simulator.run(with_fault(3, Fault(Trigger.CALL, "stock", 1, kind, 6.0)))
    assert not outcome.wrong
    assert [fault.kind for fault in outcome.struck] == [kind]


@pytest.mark.parametrize("kind", ["crash", "freeze", "forget", "database-fails", "broker-fails", "cut-off"])
def test_something_strikes_at_a_time(simulator: Simulator, kind: str) -> None:
    """A process dies, hangs or is not reached, the broker forgets what it has, or something fails for a while."""
    outcome = simulator.run(with_fault(3, Fault(Trigger.TIME, "order", 2, kind, 6.0)))
    assert not outcome.wrong
    assert [fault.kind for fault in outcome.struck] == [kind]


def test_the_broker_forgets_while_a_thread_is_held_up(simulator: Simulator) -> None:
    """Nothing asks about the transaction but the sweep, which fences it: the thread that comes late gives up."""
    fault = Fault(Trigger.FAILPOINT, "order.deducted", 1, "forget", 11.0)
    outcome = simulator.run(replace(with_fault(3, fault), sweeps=True, sweep_every=5.0))
    assert not outcome.wrong
    assert [fault.kind for fault in outcome.struck] == ["forget"]
    assert "sweep.fenced" in [event["point"] for event in events(outcome, "passed")]


@pytest.mark.parametrize("point", PAY_FAILPOINTS)
def test_a_crash_at_a_failpoint_of_pay_is_survived(simulator: Simulator, point: str) -> None:
    """Order, payment and the provider's ledger agree once all is at rest; some points take money that goes back."""
    scenario = "twice" if point.startswith(("event", "refund")) else "card"
    outcome = simulator.run(with_pay(Fault(Trigger.FAILPOINT, point, 1, "crash"), scenario=scenario))
    assert not outcome.wrong
    assert len(events(outcome, "dies")) == len(outcome.struck)
    assert events(outcome, "takes money")


@pytest.mark.parametrize(
    ("place", "kind"), [(place, kind) for place, kinds in OF_PROVIDER.items() for kind in sorted(set(kinds))]
)
def test_the_provider_errs(simulator: Simulator, place: str, kind: str) -> None:
    """Each way: a late, double or wrong amount of money goes back, once."""
    scenario = {"refund": "twice", "ask": "silent", "close": "late:12"}.get(place, "card")
    outcome = simulator.run(with_pay(Fault(Trigger.PROVIDER, place, 1, kind, 3.0), scenario=scenario))
    assert not outcome.wrong
    assert [fault.kind for fault in outcome.struck] == [kind]


@pytest.mark.parametrize(
    ("scenario", "taken", "back"),
    [
        ("card", 1, 0),
        ("callback", 1, 0),
        ("silent", 1, 0),
        ("decline", 1, 0),
        ("twice", 2, 1),
        ("never", 0, 0),
        ("late:3", 1, 0),
        ("late:12", 1, 1),
        ("page:3", 1, 0),
        ("page:12", 0, 0),
    ],
)
def test_money_in_time_pays_and_other_money_goes_back(
    simulator: Simulator, scenario: str, taken: int, back: int
) -> None:
    """Who was declined pays with another card; a page of a closed order takes no money."""
    outcome = simulator.run(with_pay(scenario=scenario))
    assert not outcome.wrong
    assert len(events(outcome, "takes money")) == taken
    asked_back = {event["path"] for event in events(outcome, "call") if event["path"].endswith("/refunds")}
    assert len(asked_back) == back


def test_the_last_question_keeps_an_order(simulator: Simulator) -> None:
    """Of money that was taken just before its time was over nothing is heard otherwise."""
    outcome = simulator.run(with_pay(scenario="silent", then_after=5.5))
    assert not outcome.wrong
    assert "/payments/ask" in {event["path"] for event in events(outcome, "call")}
    assert not [event for event in events(outcome, "passed") if event["point"] == "close.committed"]


def returned(*faults: Fault, scenario: str = "card", after: float = 1.0, pays: bool = True) -> Plan:
    """Return a run of one order with a coupon, which is paid and then returned."""
    plan = with_pay(*faults, scenario=scenario)
    wish = replace(plan.wishes[0], returns_after=after, coupon_id=OFF)
    return replace(plan, wishes=[wish], pays=pays)


@pytest.mark.parametrize(("scenario", "pays", "back"), [("card", True, 1), ("twice", True, 2), ("card", False, 0)])
def test_a_paid_order_is_returned(simulator: Simulator, scenario: str, pays: bool, back: int) -> None:
    """Its money, all of it, its pieces and its coupon's use go back once; with no pay service, there is no money."""
    plan = returned(scenario=scenario, pays=pays)
    outcome = simulator.run(replace(plan, wishes=[replace(plan.wishes[0], returns_twice=True)]))
    assert not outcome.wrong
    assert [event["point"] for event in events(outcome, "passed")].count("return.recorded") >= 3
    asked_back = {event["path"] for event in events(outcome, "call") if event["path"].endswith("/refunds")}
    assert len(asked_back) == back


def test_an_order_is_not_returned_too_late(simulator: Simulator) -> None:
    """Nor one that is not paid for."""
    for plan in (returned(after=14.0), replace(returned(scenario="never"), pay_timeout=16.0)):
        outcome = simulator.run(plan)
        assert not outcome.wrong
        assert "return.started" not in {event["point"] for event in events(outcome, "passed")}


@pytest.mark.parametrize("point", RETURN_FAILPOINTS)
def test_a_crash_at_a_failpoint_of_returns_is_survived(simulator: Simulator, point: str) -> None:
    """Another life of the process goes on with the return, once the claim on it is over."""
    outcome = simulator.run(returned(Fault(Trigger.FAILPOINT, point, 1, "crash"), pays=point == "return.put_off"))
    assert not outcome.wrong
    assert len(events(outcome, "dies")) == len(outcome.struck)


def test_a_forged_callback_is_refused(simulator: Simulator) -> None:
    """Of a stranger that knows the format, and not the key."""
    outcome = simulator.run(with_pay(Fault(Trigger.PROVIDER, "callback", 1, "forged")))
    assert not outcome.wrong
    assert 401 in {event["status"] for event in events(outcome, "answer")}


def test_two_processes_of_order_share_a_database(simulator: Simulator) -> None:
    """A key that is used at both of them at once makes one order; so does one that is used for another order."""
    for twin in ("same", "other"):
        plan = with_fault(3)
        wish = replace(plan.wishes[0], has_key=True, twin=twin, at=1.0, again_after=1.0)
        outcome = simulator.run(replace(plan, wishes=[wish], processes=2, lease=6.0))
        assert not outcome.wrong
        assert {event["to"] for event in events(outcome, "call")} >= {"order", "order-2"}
        assert len(events(outcome, "starts")) == 4


def test_a_last_order_is_placed_when_nothing_goes_wrong_any_more(simulator: Simulator) -> None:
    """However the run went: what does not recover is seen."""
    plan = next(plan for seed in range(100) if (plan := plan_of(seed)).wishes[-1].must)
    last = replace(plan.wishes[-1], at=3.0)
    assert not simulator.run(plan).wrong
    cut_off = Fault(Trigger.TIME, "stock", 1, "cut-off", 25.0)
    assert simulator.run(replace(plan, wishes=[last], faults=[cut_off])).wrong


def test_what_fails_is_made_small() -> None:
    """Faults and orders that it fails without are left out."""
    plan = next(plan for seed in range(200) if len((plan := plan_of(seed)).faults) > 3 and len(plan.wishes) > 2)
    needed, wish = plan.faults[2], plan.wishes[1]

    def fails(candidate: Plan) -> bool:
        return needed in candidate.faults and wish.number in {one.number for one in candidate.wishes}

    small = shrunk(plan, fails)
    assert list(small.faults) == [needed]
    assert [one.number for one in small.wishes] == [wish.number]


def test_the_timeline_of_an_order_is_told(simulator: Simulator) -> None:
    """With what struck meanwhile, and nothing of other orders."""
    plan = with_fault(3, Fault(Trigger.FAILPOINT, "order.deducted", 1, "crash"))
    ((title, lines),) = timeline(simulator.run(plan).history)
    assert title.startswith("order 4")
    assert any("fault" in line for line in lines)
    assert not list(timeline(History()))


def test_planted_bugs_are_found() -> None:
    """What the judge sees, and what a thread lets out; one that no run finds is said to be missed."""
    slow = "one-after-the-other"  # which takes longer, and is right
    found = simulate("mutants", "record-not-written", "asked-in-vain", slow, "--runs", "5")
    assert found.returncode == 1, found.stderr
    assert "2 of 3 planted bugs" in found.stdout
    assert f"{slow}: not in 5 runs" in found.stdout


def pays_twice(plan: Plan) -> bool:
    """Tell whether little else happens in a run than that a client pays twice."""
    paid = [wish for wish in plan.wishes if wish.then == "pay" and wish.scenario == "twice"]
    return plan.pays and len(plan.faults) <= 1 and any(wish.then_after < plan.pay_timeout - 1 for wish in paid)


def test_a_planted_bug_of_pay_is_found() -> None:
    """Money that came twice has to come to rest at the provider."""
    seed = next(seed for seed in range(5000) if pays_twice(plan_of(seed)))
    failed = simulate("--seed", str(seed), "--mutant", "second-charge-kept")
    assert failed.returncode == 1, failed.stderr
    assert "WRONG: money is on its way back" in failed.stdout
    assert simulate("--seed", str(seed)).returncode == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failing_seed_is_told_and_repeated(jobs: str) -> None:
    """With the line that repeats it, and as small as it gets; whichever process made the run."""
    failed = simulate("--seeds", "1", "--jobs", jobs, "--mutant", "record-not-written")
    assert failed.returncode == 1, failed.stderr
    assert "1 runs, 1 failed" in failed.stdout
    assert "./scripts/simulate --seed 0 --show --mutant record-not-written" in failed.stdout
    assert "As small as it gets" in failed.stdout
    assert "WRONG: order" in failed.stdout
