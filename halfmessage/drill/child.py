"""What one process of the service that is drilled does: a `Job`. Its last line on standard output is a JSON object."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine, update

from halfmessage import failpoints
from halfmessage.drill import invariants, losing
from halfmessage.drill.scenario import Scenario, load
from halfmessage.drill.waiting import until_quiet
from halfmessage.drill.watching import Watch
from halfmessage.errors import Misconfigured
from halfmessage.saga.plan import Delay
from halfmessage.transactional.tables import METADATA, SAGAS


@dataclass(frozen=True, slots=True)
class Job:
    """What the process is to do; `patience`: seconds in which all must be quiet.

    It acts for `keys` keys from `key` on, `times` for each. `lose`: see `Watch`. `answers`: what acts returned.
    """

    app: str
    scenario: str
    what: str
    act: str = ""
    key: int = 0
    keys: int = 1
    times: int = 1
    armed: str = ""
    lose: str = ""
    answers: Mapping[str, Any] = field(default_factory=dict)
    patience: float = 20.0


def do(job: Job) -> None:
    """Do a job, as the whole work of this process."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
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
    return {"acts": list(scenario.acts), "groups": [each.group for each in scenario.tx.subscriptions]}


def _act(scenario: Scenario, job: Job) -> dict[str, object]:
    error: str | None = None
    answers: dict[str, object] = {}
    broken: list[str] = []
    with failpoints.recorded() as passed, Watch(scenario.tx, job.lose) as watch, scenario.tx as tx:
        tx.start()
        failpoints.arm(job.armed, [job.armed.partition("=")[0]])
        for key in _keys(job) * job.times:
            try:
                answers[str(key)] = scenario.acts[job.act](key)
            except Exception as raised:  # noqa: BLE001 - a client's request may fail
                answers[str(key)], error = None, repr(raised)
        answers = _said(job, answers) if scenario.takes_answers else {}
        if "/" in job.lose:
            heard = replace(job, answers=answers)
            broken = list(losing.turned(tx, watch, job.patience, lambda: _checked(scenario, heard)))
        until_quiet(tx, job.patience)
        called = losing.losable(tx, watch.called)
    error = error or watch.failed
    return {"passed": passed, "called": called, "error": error, "answers": answers, "broken": broken}


def _said(job: Job, answers: dict[str, object]) -> dict[str, object]:
    try:
        json.dumps(answers)
    except TypeError as error:
        raise Misconfigured(f"What {job.act} returns is given to check, and has to be JSON: {error}") from error
    return answers


def _keys(job: Job) -> list[int]:
    return list(range(job.key, job.key + job.keys))


def _settle(scenario: Scenario, job: Job) -> dict[str, object]:
    failpoints.arm(job.armed, [job.armed.partition("=")[0]])
    with scenario.tx as tx:
        _end_claims(tx.engine)
        tx.start()
        until_quiet(tx, job.patience)
        return {"broken": [*invariants.broken(tx), *_checked(scenario, job)]}


def _checked(scenario: Scenario, job: Job) -> Iterator[str]:
    """Tell what the scenario's check has to say of each key."""
    for key in _keys(job):
        of = f"check of key {key}" if job.keys > 1 else "check"
        try:
            said = scenario.checked(key, job.answers.get(str(key)))
        except Exception as raised:  # noqa: BLE001 - whatever it is, it does not hold
            yield f"{of}: {raised}" if isinstance(raised, AssertionError) else f"{of}: {raised!r}"
        else:
            yield from (f"{of}: {line}" for line in (said if isinstance(said, list) else ()))


def _end_claims(engine: Engine) -> None:
    """Have the runs of sagas taken at once: their processes are dead, and the drill need not wait for their leases."""
    held = update(SAGAS.runs).where(SAGAS.runs.c.owner.is_not(None), SAGAS.runs.c.due_at.is_not(None))
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(held.values(due_at=0))
