"""One process of the service that is drilled: `python -m halfmessage.drill.child` with a `Job` as JSON.

Its last line on standard output is a JSON object.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog
from sqlalchemy import Engine, update

from halfmessage import failpoints
from halfmessage.drill import invariants
from halfmessage.drill.scenario import Scenario, load
from halfmessage.errors import Unavailable
from halfmessage.saga.plan import Delay
from halfmessage.transactional.tables import METADATA, SAGAS

_LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Job:
    """What the process is to do; `patience`: seconds in which all must be quiet."""

    app: str
    scenario: str
    what: str
    act: str = ""
    key: int = 0
    armed: str = ""
    patience: float = 20.0


def main() -> None:
    """Do the job that the first argument tells."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    job = Job(**json.loads(sys.argv[1]))
    scenario = load(Path(job.app), Path(job.scenario))
    tx = scenario.tx
    quick = replace(
        tx.options.broker,
        check_first_after=0.5,
        check_interval=0.5,
        invisible_for=1.0,
        retry_first_after=0.1,
        retry_longest=1.0,
    )
    again = Delay(first=0.1, longest=1.0)
    tx.options = replace(tx.options, deadline=1.0, poll_every=0.05, broker=quick, saga_delay=again)
    answer = {"prepare": _prepare, "act": _act, "settle": _settle}[job.what](scenario, job)
    print(json.dumps(answer))  # noqa: T201 - read by the drill


def _prepare(scenario: Scenario, _job: Job) -> dict[str, object]:
    METADATA.create_all(scenario.tx.engine)
    scenario.prepare()
    return {"acts": list(scenario.acts)}


def _act(scenario: Scenario, job: Job) -> dict[str, object]:
    error = None
    with failpoints.recorded() as passed, scenario.tx as tx:
        tx.start()
        failpoints.arm(job.armed, [job.armed.partition("=")[0]])
        try:
            scenario.acts[job.act](job.key)
        except Exception as raised:  # noqa: BLE001 - a client's request may fail
            error = repr(raised)
        _until_quiet(scenario, job.patience)
    return {"passed": passed, "error": error}


def _settle(scenario: Scenario, job: Job) -> dict[str, object]:
    failpoints.arm(job.armed, [job.armed.partition("=")[0]])
    with scenario.tx as tx:
        _end_claims(tx.engine)
        tx.start()
        _until_quiet(scenario, job.patience)
        broken = list(invariants.broken(tx))
        try:
            said = scenario.check(job.key)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it does not hold
            broken.append(f"check: {raised}" if isinstance(raised, AssertionError) else f"check: {raised!r}")
        else:
            broken.extend(f"check: {line}" for line in (said if isinstance(said, list) else ()))
    return {"broken": broken}


def _end_claims(engine: Engine) -> None:
    """Have the runs of sagas taken at once: their processes are dead, and the drill need not wait for their leases."""
    held = update(SAGAS.runs).where(SAGAS.runs.c.owner.is_not(None), SAGAS.runs.c.due_at.is_not(None))
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(held.values(due_at=0))


def _until_quiet(scenario: Scenario, patience: float) -> None:
    """Return once nothing is on its way, or after `patience` seconds: then the invariants say what is."""
    last = time.monotonic() + patience
    while time.monotonic() < last and not _is_quiet(scenario):
        time.sleep(_LOOK_EVERY)


def _is_quiet(scenario: Scenario) -> bool:
    try:
        return scenario.tx.status().is_quiet
    except Unavailable:  # a busy machine: asked again
        return False


def words(job: Job) -> list[str]:
    """Return the command that does a job."""
    return [sys.executable, "-m", "halfmessage.drill.child", json.dumps(asdict(job))]


if __name__ == "__main__":
    main()
