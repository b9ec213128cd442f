"""Many random runs: on several lanes, each with a deployment that is used as long as nothing failed on it."""

import json
import shutil
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

from halfmessage.errors import HalfMessageError
from lab.drill.backing import Backing
from lab.drill.nemesis.linked_sut import LinkedSystem
from lab.drill.nemesis.plan import Plan
from lab.drill.nemesis.regimes import BLOCK, BY_NAME
from lab.drill.nemesis.run import Run, play
from lab.drill.nemesis.shrink import shrink

PLAN, FINAL, WRONG, SHRUNK, DEPLOYMENT = "plan.json", "final.json", "wrong.txt", "shrunk.json", "deployment"
FAULTS = "faults.json"
_ATTEMPTS = 2  # at a smaller plan: what fails by a race need not fail each time


class Lane:
    """Plays plans one after the other below a directory of its own."""

    def __init__(self, root: Path, backing: Backing, say: Callable[[str], None], stretch: float) -> None:
        """Nothing is started yet."""
        self._root, self._backing, self._say, self._stretch = root, backing, say, stretch
        self._sut: LinkedSystem | None = None
        self._number = 0

    def play(self, plan: Plan, evidence: Path) -> Run:
        """Play a plan. What fails keeps its deployment in `evidence`, and the next plan gets a new one."""
        try:
            run = play(plan, self._ready_for(plan), evidence=evidence, stretch=self._stretch)
        except HalfMessageError as error:
            run = Run(plan, 0.0, [f"no deployment: {error.detail}"])
        _write_down(run, evidence)
        if not run.passed:
            run.evidence = str(evidence)
            self.drop(keep=evidence / DEPLOYMENT)
        return run

    def drop(self, *, keep: Path | None = None) -> None:
        """Stop the deployment, if there is one."""
        sut, self._sut = self._sut, None
        if sut is not None:
            sut.close(keep=keep)

    def close(self) -> None:
        """Stop everything."""
        self.drop()
        self._backing.close()

    def _ready_for(self, plan: Plan) -> LinkedSystem:
        regime = BY_NAME[plan.regime]
        if self._sut is not None and (self._sut.regime is not regime or self._sut.runs >= 2 * BLOCK):
            self.drop()
        if self._sut is None:
            self._number += 1
            directory = self._root / f"{self._number}-{regime.name}"
            self._sut = LinkedSystem(directory, self._backing, regime, self._say)
        return self._sut


def _write_down(run: Run, evidence: Path) -> None:
    evidence.mkdir(parents=True, exist_ok=True)
    (evidence / PLAN).write_text(json.dumps(run.plan.as_json(), indent=1), encoding="utf-8")
    if run.final is not None:
        (evidence / FINAL).write_text(json.dumps(run.final.as_json(), indent=1), encoding="utf-8")
    done = [{**asdict(one.fault), "began": one.began, "ended": one.ended} for one in run.injections if not one.skipped]
    (evidence / FAULTS).write_text(json.dumps(done, indent=1), encoding="utf-8")
    if run.wrong:
        faults = [f"{one.began:.3f}-{one.ended:.3f} s: {one.fault} {one.skipped}".rstrip() for one in run.injections]
        (evidence / WRONG).write_text("\n".join([*run.wrong, "", *faults, ""]), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Campaign:
    """How runs are played. `directory` gets a directory for each run that failed, or for each if `keep_all`.

    `again` says how a seed is repeated, `again_shrunk` how a file with a plan is; `shrink_for` seconds at most are
    spent on making a failing plan smaller.
    """

    directory: Path
    again: Callable[[int], str]
    again_shrunk: Callable[[Path], str]
    shrink_for: float = 60.0
    keep_all: bool = False

    def play(self, plans: Sequence[Plan], lanes: Sequence[Lane]) -> Generator[Run]:
        """Play all plans; yield each run as it ends. Closes the lanes."""
        left, lock = list(reversed(plans)), threading.Lock()
        done: SimpleQueue[Run | BaseException | None] = SimpleQueue()

        def take() -> Plan | None:
            with lock:
                return left.pop() if left else None

        def work(lane: Lane) -> None:
            try:
                while plan := take():
                    done.put(self._one(plan, lane))
            except BaseException as error:  # noqa: BLE001 - a thread's edge: raised again by the one that waits for it
                done.put(error)
            finally:
                lane.close()
                done.put(None)

        threads = [threading.Thread(target=work, args=(lane,), name=f"lane-{n}") for n, lane in enumerate(lanes, 1)]
        for thread in threads:
            thread.start()
        try:
            yield from _results(done, len(threads))
        finally:
            with lock:
                left.clear()
            for thread in threads:
                thread.join()

    def _one(self, plan: Plan, lane: Lane) -> Run:
        evidence = self.directory / f"seed-{plan.seed}"
        run = lane.play(plan, evidence)
        run.again = self.again(plan.seed)
        if not run.passed:
            self._shrink(run, lane, evidence)
        elif not self.keep_all:
            shutil.rmtree(evidence, ignore_errors=True)
        return run

    def _shrink(self, run: Run, lane: Lane, evidence: Path) -> None:
        def fails(plan: Plan) -> bool:
            for _ in range(_ATTEMPTS):
                tried = evidence / "try"
                failed = not lane.play(plan, tried).passed
                shutil.rmtree(tried, ignore_errors=True)
                if failed:
                    return True
            return False

        found = shrink(run.plan, fails, within=self.shrink_for)
        if found.plan is not run.plan:
            file = evidence / SHRUNK
            file.write_text(json.dumps(found.plan.as_json(), indent=1), encoding="utf-8")
            run.again = self.again_shrunk(file)
            run.shrunk = found.plan


def _results(done: "SimpleQueue[Run | BaseException | None]", lanes: int) -> Generator[Run]:
    while lanes:
        result = done.get()
        if result is None:
            lanes -= 1
        elif isinstance(result, BaseException):
            raise result
        else:
            yield result
