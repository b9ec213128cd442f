"""The steps of a drill, each in a directory of its own that is the working directory of the service's processes."""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from halfmessage.drill import child, processes, steps
from halfmessage.drill.child import Job
from halfmessage.drill.processes import Ended
from halfmessage.errors import Misconfigured

_BEYOND_PATIENCE = 60.0
"""Seconds that a process has to come up, act and end, besides those in which all must get quiet."""
SEE_LOG = "see its log"
_LOG = 40  # last lines of a process that are kept
_SHOWN = 2000  # characters of its log, where the drill can't be run


@dataclass(frozen=True, slots=True)
class Result:
    """What a step came to: `broken` is empty where all held. `log`: the last lines of its processes."""

    step: steps.Step
    broken: tuple[str, ...]
    log: str


class Drill:
    """A service, drilled step by step."""

    def __init__(self, app: Path, scenario: Path, *, patience: float, earlier: Path | None = None) -> None:
        """Take its files; `patience` in seconds. `earlier`: a version that acts, and that `app` comes back as.

        Raise `Misconfigured` for an earlier file of another name, which the scenario would not import.
        """
        if earlier is not None and earlier.name != app.name:
            raise Misconfigured(f"{earlier} has to be called {app.name}: the scenario imports it by that name.")
        self._later = Job(str(app.resolve()), str(scenario.resolve()), "prepare", patience=patience)
        self._job = replace(self._later, app=str((earlier or app).resolve()))
        self._limit = patience + _BEYOND_PATIENCE
        self.untouched: tuple[str, ...] = ()  # consumers' groups that no act came to, once all were run

    def run(self, only: str = "") -> Iterator[Result]:
        """Run the steps whose names have `only` in them, of all acts; tell each.

        Raise `Misconfigured` where the service can't even act undisturbed, or does nothing that could be struck.
        """
        with tempfile.TemporaryDirectory(prefix="halfmessage-drill-") as directory:
            home = Path(directory)
            template = home / "template"
            template.mkdir()
            prepared = self._answer(self._job, template)
            key, called = 1, set[str]()  # a database that is a server's is the same for all steps: no key twice
            for act in prepared["acts"]:
                job = replace(self._job, what="act", act=act, key=key)
                found = self._answer(job, self._fresh(template, home / f"{act}-found"))
                if not found["passed"]:
                    raise Misconfigured(_nothing(act, found))
                key += 1
                for step in steps.of(act, found["passed"], [name for name in found["called"] if name not in called]):
                    if only not in step.name:
                        continue
                    yield self._step(step, key, self._fresh(template, home / f"{act}-{key}"))
                    key += step.keys
                called.update(found["called"])
            self.untouched = tuple(group for group in prepared["groups"] if group not in called)

    def _step(self, step: steps.Step, key: int, where: Path) -> Result:
        job = replace(self._job, act=step.act, key=key, keys=step.keys)
        acted = self._process(replace(job, what="act", armed=step.armed, times=step.times, lose=step.lose), where)
        log, broken = [acted.log], list[str]()
        died = acted.status == -signal.SIGKILL
        if step.is_to_die and not died:
            broken.append("the process did not come to this point again")
        elif acted.status != 0 and not died:
            broken.append(self._odd_end("the process ended with an error", acted))
        elif not died:
            told = _last(acted)
            job = replace(job, answers=told["answers"])
            broken.extend(told["broken"])
            if step.must_succeed and told["error"]:
                broken.append(f"{step.act} raised {told['error']}, though nothing failed")
        if step.then:
            log.append(self._process(replace(job, what="settle", armed=step.then), where).log)
        if job.app != self._later.app:
            log.append(self._process(self._later, where).log)
        settled = self._process(replace(job, what="settle", app=self._later.app), where)
        log.append(settled.log)
        if settled.status != 0:
            broken.append(self._odd_end("the service did not come back", settled))
        else:
            broken.extend(_last(settled)["broken"])
        shutil.rmtree(where)
        lines = "".join(log).splitlines()
        return Result(step, tuple(broken), "\n".join(lines[-_LOG:]))

    def _answer(self, job: Job, where: Path) -> dict[str, Any]:
        done = self._process(job, where)
        if done.status != 0:
            within = f" within {self._limit:g} s" if done.status is None else ""
            raise Misconfigured(f"The service could not {job.what}{within}:\n{done.log[-_SHOWN:]}")
        return _last(done) | {"log": done.log[-_SHOWN:]}

    def _process(self, job: Job, where: Path) -> Ended:
        return processes.run(child.do, job, where, self._limit)

    def _odd_end(self, what: str, ended: Ended) -> str:
        if ended.status is None:
            return (
                f"it hangs: it was ended after {self._limit:g} s (on a machine this busy, raise --patience); {SEE_LOG}"
            )
        return f"{what}; {SEE_LOG}"

    @staticmethod
    def _fresh(template: Path, where: Path) -> Path:
        shutil.copytree(template, where)
        return where


def _nothing(act: str, found: dict[str, Any]) -> str:
    raised = f" It raised {found['error']}." if found["error"] else ""
    return (
        f"{act} sent no message and began no saga, though nothing failed: there is no step to strike at.{raised}"
        f" Its log ends with:\n{found['log']}"
    )


def _last(done: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    return found
