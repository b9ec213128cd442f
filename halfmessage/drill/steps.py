"""Where a drill strikes: every point that a service passes, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

_MEANINGS = {
    "half_sent": "the half message is stored, the transaction is not committed",
    "before_commit": "all is written, and COMMIT was not sent",
    "committed": "committed, and the broker does not know",
    "before_resolve": "committed, and about to tell the broker",
    "resolved": "the message is on its way, and the caller has no answer",
    "received": "a message came, and nothing was done",
    "handled": "the consumer has committed, and the broker does not know",
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
        """Whether the process that acts dies of it."""
        return self.armed.endswith("=kill")


def _told(spec: str) -> str:
    point, _, action = spec.partition("=")
    return f"{point} fails" if action == "raise" else f"killed at {point}"


def of(act: str, passed: Sequence[str]) -> list[Step]:
    """Return the steps of an act that passed these points, in the order of passing."""
    points = [point for point in dict.fromkeys(passed) if not point.startswith("check.")]
    steps = [Step(act, ""), *(Step(act, f"{point}=kill") for point in points)]
    for point in points:
        if point.endswith(".half_sent"):
            steps.extend(Step(act, f"{point}=kill", f"check.{moment}=kill") for moment in ("received", "fenced"))
        if point.endswith(".committed"):  # of a message that is sent: a consumer's would fail at each try
            steps.append(Step(act, f"{point.removesuffix('committed')}before_commit=raise"))
    return steps
