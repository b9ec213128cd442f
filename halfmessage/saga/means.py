"""What runs are driven with, and how one try of somebody's step is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from halfmessage.db import Transactor
from halfmessage.errors import HalfMessageError
from halfmessage.saga.definition import Call
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.log import Log
from halfmessage.saga.model import Run, written
from halfmessage.saga.plan import Answer, Delay

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an alert is told: a step that failed so often, or a run in the middle of which instances ended so often."""

    run_id: int
    saga: str
    key: str
    step: str | None
    tries: int
    error: str


@dataclass(frozen=True, slots=True)
class Means:
    """What an engine drives runs with. `lease` in ms; `alert` is told each `alert_after` failures."""

    database: Transactor
    log: Log
    name: str
    lease: int
    delay: Delay
    alert: Callable[[Trouble], object]
    alert_after: int

    @property
    def longest(self) -> int:
        """The longest delay of a step that failed, in ms."""
        return int(self.delay.longest * 1000)

    def tell(self, run: Run, step: str | None, tries: int, error: str) -> None:
        """Alert, where it is time to. What the alert raises is logged: the run has nothing to do with it."""
        if tries == 0 or tries % self.alert_after:
            return
        try:
            self.alert(Trouble(run.run_id, run.saga, run.key, step, tries, error))
        except Exception:  # somebody else's code
            log.exception("an alert failed", saga=run.saga, run_id=run.run_id)


def tried(work: Callable[[], Any], call: Call, leave: tuple[type[Exception], ...] | type[Exception] = ()) -> Answer:
    """Run somebody's step. What is no refusal is a failure, whatever it is: it is told, and tried again.

    Raise what is in `leave`.
    """
    try:
        result = work()
        written(result)
    except leave:
        raise
    except StepRefused as error:
        return Answer("refused", error=error.detail)
    except HalfMessageError as error:
        return Answer("failed", error=f"{type(error).__name__}: {error.detail}")
    except Exception as error:  # a step's own code, of which we know nothing
        log.info("a step raised", saga=call.saga, run_id=call.run_id, step=call.step, exc_info=call.attempt == 1)
        return Answer("failed", error=f"{type(error).__name__}: {error}")
    return Answer("done", result)
