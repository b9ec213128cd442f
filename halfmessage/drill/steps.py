"""Where a drill strikes: every point that a service passes, one after another, and what may fail besides."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from halfmessage.drill.watching import OWN_COMMIT
from halfmessage.failpoints import of_saga

KEYS: Final = 10
"""Keys of one step that acts for several."""
MOST_PASSAGES: Final = 40
"""Passages of one point at which a drill strikes: more of them are told apart by nothing."""
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
    OWN_COMMIT: "a COMMIT of your own code was not sent; what it sent before it stands",
}
_FAILURES = {
    "half_sent": "the broker has it, and its answer is lost: the sender is told that nothing happened",
    "before_commit": "the database refuses, and the process lives on",
    "committed": "the answer to COMMIT is lost: the sender is told that it is not known",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One run of an act. `armed`: what the process is armed with while it acts; `then`: while it comes back.

    It acts for `keys` keys, `times` for each; `lose`: a group, or a step of a saga (see `watching.Watch`).
    """

    act: str
    armed: str = ""
    then: str = ""
    keys: int = 1
    times: int = 1
    lose: str = ""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        if self.keys > 1:
            return f"{self.keys} keys"
        if self.times > 1:
            return "asked for twice"
        if self.lose:
            return f"{self.lose} is lost" if "/" in self.lose else f"{self.lose} fails once"
        return " and ".join(_told(spec) for spec in (self.armed, self.then) if spec) or "nothing fails"

    @property
    def meaning(self) -> str:
        """What the moment is."""
        if self.keys > 1:
            return "what was done for one must not be taken for another's"
        if self.times > 1:
            return "a client that had no answer asks again"
        if self.lose:
            return "its run turns back, then it comes" if "/" in self.lose else "other messages overtake it"
        point, _, action = self.armed.partition("=")
        if action == "raise":
            return _FAILURES[point.rpartition(".")[2]]
        if self.then:
            return "killed once more, while it answers the check-back"
        return _MEANINGS.get(point.rpartition(".")[2], "")

    @property
    def must_succeed(self) -> bool:
        """Whether nothing fails, so that an act which raises is a fault."""
        return not (self.armed or self.lose) and self.times == 1

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


def of(act: str, passed: Sequence[str], called: Sequence[str] = ()) -> list[Step]:
    """Return the steps of an act that passed these points and called these consumers and steps, in their order.

    A point of a saga is struck at each passage, for each is another step of the saga; so is a COMMIT of the service's.
    """
    points = [point for point in dict.fromkeys(passed) if not point.startswith("check.")]
    steps = [Step(act), Step(act, keys=KEYS), Step(act, times=2)]
    seen = Counter[str]()
    for point in passed:
        seen[point] += 1
        each = point in _OF_SAGA or point.endswith(f".{OWN_COMMIT}")
        if point in points and seen[point] <= (MOST_PASSAGES if each else 1):
            steps.append(Step(act, f"{point}=kill" + (f"@{seen[point]}" if seen[point] > 1 else "")))
    for point in points:
        if point.endswith(".half_sent"):
            steps.extend(Step(act, f"{point}=kill", f"check.{moment}=kill") for moment in ("received", "fenced"))
            steps.append(Step(act, f"{point}=raise"))
        if point.endswith(".committed"):  # of a message that is sent: a consumer's would fail at each try
            steps.append(Step(act, f"{point.removesuffix('committed')}before_commit=raise"))
            steps.append(Step(act, f"{point}=raise"))
    return [*steps, *_lost(act, called)]


def _lost(act: str, called: Sequence[str]) -> Iterator[Step]:
    """Return a step for each consumer and each step of a saga that was called; compensations come in the end."""
    for name in called:
        if "/" not in name or name.endswith("/do"):
            yield Step(act, lose=name)
