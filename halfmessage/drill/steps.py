"""Where a drill strikes: every point that a service passes, one after another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from halfmessage.failpoints import of_saga

_OF_SAGA: Final = of_saga("saga")
_MEANINGS = {
    "half_sent": "the half message is stored, the transaction is not committed",
    "before_commit": "all is written, and COMMIT was not sent",
    "committed": "committed, and the broker does not know",
    "before_resolve": "committed, and about to tell the broker",
    "resolved": "the message is on its way, and the caller has no answer",
    "received": "a message came, and nothing was done",
    "handled": "the consumer has committed, and the broker does not know",
    "started": "the run of a saga is written down, and nothing was called",
    "claimed": "the run is this process's to drive, and nothing was called",
    "answered": "a step of the saga has answered, and nothing of it is written down",
    "recorded": "how the step ended is written down",
    "turned": "the run has turned back, and nothing is undone",
    "put_off": "the run waits for its next try",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One run of an act. `armed`: what the process is armed with while it acts; `then`: while it comes back."""

    act: str
    armed: str
    then: str = ""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return " and ".join(_told(spec) for spec in (self.armed, self.then) if spec) or "nothing fails"

    @property
    def meaning(self) -> str:
        """What the moment is."""
        if self.armed.endswith("=raise"):
            return "the database refuses, and the process lives on"
        if self.then:
            return "killed once more, while it answers the check-back"
        return _MEANINGS.get(self.armed.partition("=")[0].rpartition(".")[2], "")

    @property
    def is_to_die(self) -> bool:
        """Whether the process that acts must die of it.

        How often a saga passes a point depends on which of its branches is first: where it is less often than in the
        undisturbed run, nothing is killed, and what must hold is looked at all the same.
        """
        return self.armed.endswith("=kill")


def _told(spec: str) -> str:
    point, _, action = spec.partition("=")
    _, _, nth = action.partition("@")
    return f"{point} fails" if action == "raise" else f"killed at {point}" + (f", passage {nth}" if nth else "")


def of(act: str, passed: Sequence[str]) -> list[Step]:
    """Return the steps of an act that passed these points, in the order of passing.

    A point of a saga is struck at each passage, for each is another step of the saga.
    """
    points = [point for point in dict.fromkeys(passed) if not point.startswith("check.")]
    steps = [Step(act, "")]
    seen = Counter[str]()
    for point in passed:
        seen[point] += 1
        if point in points and (seen[point] == 1 or point in _OF_SAGA):
            steps.append(Step(act, f"{point}=kill" + (f"@{seen[point]}" if seen[point] > 1 else "")))
    for point in points:
        if point.endswith(".half_sent"):
            steps.extend(Step(act, f"{point}=kill", f"check.{moment}=kill") for moment in ("received", "fenced"))
        if point.endswith(".committed"):  # of a message that is sent: a consumer's would fail at each try
            steps.append(Step(act, f"{point.removesuffix('committed')}before_commit=raise"))
    return steps
