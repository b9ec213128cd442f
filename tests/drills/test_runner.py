"""What plays drills: what it touches, and what it leaves of one that failed."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from console.story import read_file, verify
from lab.drill import drill_run
from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun, Look
from lab.drill.event_log import NotStaged
from lab.drill.runner import DrillQueue, play, play_all
from lab.drill.slot import Slot, claim_directory
from lab.judge.invariant import Invariant
from ops.errors import CommandFailed
from ops.runstate import Phase
from ops.supervisor import Supervisor

pytestmark = [pytest.mark.drill, pytest.mark.embedded("of the drill itself, which is the same on any servers")]


def _untrue(run: DrillRun) -> None:
    run.placed()
    run.same("pieces available", run.available(), 1)


def _wrong_in_itself(_: DrillRun) -> None:
    raise ZeroDivisionError


def _orphan(run: DrillRun) -> None:
    run.sut.orphan("stock", run.goods_id)
    run.fault("stock is taken for an order that does not exist, and no sweep comes")
    run.limit = 0.2
    run.settle()


def _haunted(run: DrillRun) -> None:
    run.settle()
    looks = iter([["a message of an earlier drill is ready"], [], ["another one is ready"]])
    run.look = lambda **_: Look(next(looks))  # type: ignore[method-assign]


def _stays_dead(run: DrillRun) -> None:
    run.arm("stock", "stock.settled=kill")
    run.placed()
    run.settle()
    run.take_down("stock")


_BROKEN_BY_AN_ORPHAN = [
    "an open or paid order has its stock; any other, or none, holds nothing",
    "once quiet, no half message is open and no dead letter lies unseen",
]


def _drill(name: str, play_it: object) -> Drill:
    return Drill(name, "something", "somewhere", "everything", play_it)  # type: ignore[arg-type]


def test_drills_that_fail_keep_their_evidence_and_others_go_on(tmp_path: Path) -> None:
    """Each verdict says what was found; its data stays, and the next drill gets a deployment that nothing failed on."""
    slot = Slot(tmp_path)
    drills = [_drill("untrue", _untrue), _drill("wrong", _wrong_in_itself), _drill("orphan", _orphan)]
    found = {r.name: r for r in play_all(drills, [slot], lambda *_: None, repeat=lambda d: f"again {d.name}")}
    assert found["untrue"].reason == "This did not hold: pieces available: 98, not 1."
    story = found["untrue"].story
    assert story is not None
    assert story.steps[0].event
    assert found["untrue"].repeat == "again untrue"
    assert found["wrong"].reason == "ZeroDivisionError"
    assert "Traceback" in (Path(str(found["wrong"].evidence)) / "traceback.txt").read_text()
    assert "does not exist, but its stock is reserved" in str(found["orphan"].reason)
    healing = [event.text for event in found["orphan"].events if event.text.startswith("not settled yet: ")]
    assert 1 <= len(healing) <= 5
    assert [i.name for i in found["orphan"].invariants if not i.holds] == _BROKEN_BY_AN_ORPHAN
    evidence = {str(r.evidence) for r in found.values()}
    assert len(evidence) == 3
    assert all((Path(one) / "order.db").is_file() for one in evidence)


def test_what_comes_up_again_after_a_quiet_look_is_not_held_against_a_drill(tmp_path: Path) -> None:
    """RocketMQ hides what an earlier drill's process took and died over; one quiet look has to do."""
    slot = Slot(tmp_path)
    result = play(_drill("haunted", _haunted), slot)
    slot.close()
    assert result.reason is None
    assert result.invariants[-1].figures["on their way"] == 0


@pytest.mark.parametrize("passes", [True, False])
def test_invariants_are_told_as_the_last_look_saw_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    """A poll's answer may come at any time, and is handled in its time: none is looked for after the look that held."""
    news = Invariant("money", {}, ["event 1 of sandbox: stored, never handled"])
    looks = [news] * 2 + [Invariant("money", {})] * passes
    taken = iter(looks)

    def play_it(run: DrillRun) -> None:
        run.settle()
        run.limit = 5.0
        judge = SimpleNamespace(invariants=lambda: [next(taken, news)])
        monkeypatch.setattr(drill_run, "Judge", SimpleNamespace(of=lambda _: judge))
        monkeypatch.setattr(run, "concerns", lambda: None)
        monkeypatch.setattr(run, "story", lambda: None)

    slot = Slot(tmp_path)
    result = play(_drill("news", play_it), slot)
    slot.close()
    assert result.passed is passes, result.reason
    assert result.reason == (None if passes else "event 1 of sandbox: stored, never handled")
    assert result.invariants[0] == (looks[-1] if passes else news)


def test_a_process_that_was_left_dead_runs_again(tmp_path: Path) -> None:
    """At once, for the drill that comes next: nothing waits for what does not come by itself."""
    slot = Slot(tmp_path)
    supervisors: list[Supervisor] = []

    def dead(run: DrillRun) -> None:
        supervisors.append(run.supervisor)
        _stays_dead(run)

    result = play(_drill("dead", dead), slot, stretch=20.0)
    phases = {state.name: state.state for state in supervisors[0].states()}
    slot.close()
    assert result.passed, result.reason
    assert set(phases.values()) == {Phase.READY}, phases


@pytest.mark.parametrize(("late", "passes"), [(2, True), (3, False)])
def test_what_shows_nothing_is_played_again(tmp_path: Path, late: int, passes: bool) -> None:
    """A drill whose situation did not come about begins anew on another deployment, twice at most; then it failed."""
    deployments: list[Path] = []

    def stage(run: DrillRun) -> None:
        deployments.append(run.sut.deployment.directory.root)
        run.placed()
        if len(deployments) <= late:
            raise NotStaged("Only 1 of 48 orders was in the batch.")

    told: list[str] = []
    slot = Slot(tmp_path)
    result = play(_drill("staged", stage), slot, lambda _, event: told.append(event.text))
    slot.close()
    assert result.passed is passes
    assert result.reason == (None if passes else "Only 1 of 48 orders was in the batch.")
    assert len(set(deployments)) == len(deployments) == 3
    assert told.count("Only 1 of 48 orders was in the batch. It is played again.") == 2


def test_a_drill_that_passed_leaves_nothing(tmp_path: Path) -> None:
    """Its deployment is stopped and deleted."""
    slot = Slot(tmp_path)
    result = play(_drill("fine", lambda run: run.placed()), slot)
    slot.close()
    assert result.passed
    assert result.recovery is not None
    assert not any(tmp_path.iterdir())


def test_the_story_of_its_order_is_kept_while_a_drill_runs(tmp_path: Path) -> None:
    """Somebody can watch it: a story file, whole at any moment, of what is known so far; at the end, of all."""
    file, seen = tmp_path / "story.html", []

    def stage(run: DrillRun) -> None:
        run.placed()
        run.wait("its story", file.exists)
        seen.append(verify(file.read_text(encoding="utf-8")).story)

    slot = Slot(tmp_path / "lane")
    result = play(_drill("watched", stage), slot, stretch=10.0, story_file=file)  # a busy machine is not judged here
    slot.close()
    assert result.passed, result.reason
    assert result.story is not None
    assert [story.order_id for story in seen] == [result.order_id]
    assert read_file(file.read_text(encoding="utf-8")) == result.story


def test_a_directory_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """A deployment of the user's is never touched, and the refusal says why; a drill's own is taken again."""
    own = claim_directory(tmp_path / "new")
    assert claim_directory(own) == own
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "order.db").touch()
    with pytest.raises(CommandFailed, match="not a drill's own: drills kill processes"):
        claim_directory(theirs)
    assert [path.name for path in theirs.iterdir()] == ["order.db"]
    with pytest.raises(CommandFailed, match="not a drill's own"):
        claim_directory(theirs / "order.db")


def test_a_stopped_programme_begins_no_other_drill(tmp_path: Path) -> None:
    """After Ctrl-C what runs is finished, and nothing more is begun."""
    queue = DrillQueue([_drill("one", _untrue)])
    queue.stop()
    assert queue.take(Slot(tmp_path)) is None
