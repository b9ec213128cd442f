"""What a comparison finds, and how it is kept."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from halfmessage.clock import now_ms, rfc3339

KEPT = 1000  # findings kept one by one; further ones are counted


class Gravity(StrEnum):
    """How bad a finding is; what is younger than the grace period may still be on its way."""

    DISAGREEMENT = "disagreement"
    UNRESOLVED = "unresolved"
    IN_PROGRESS = "in progress"


REPAIR = "orders reconcile --repair"
WAIT = "wait: the services finish it"
BY_HAND = "decide which is right, see docs/backup.md: nothing repairs it by itself"


@dataclass(frozen=True, slots=True)
class Limits:
    """How old, in seconds, what is on its way may get; and what a participant is to confirm, until the sweep asks."""

    grace: float = 30.0
    confirm_within: float = 180.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `age` in seconds, None where it has none.

    `remedy`: what a person does about it, as a command where there is one. `participant`: the one whose holding it is
    about, if any.
    """

    gravity: Gravity
    subject: str  # order, goods or message
    id: str
    what: str
    age: float | None = None
    remedy: str = REPAIR
    participant: str | None = None


def of_participant(name: str, found: Iterable[Finding]) -> list[Finding]:
    """Return findings as those about what a participant holds."""
    return [replace(finding, participant=name) for finding in found]


def wrong(subject: str, identity: str, what: str, remedy: str = REPAIR) -> Finding:
    """Return what disagrees, however young it is."""
    return Finding(Gravity.DISAGREEMENT, subject, identity, what, remedy=remedy)


def by_age(gravity: Gravity, subject: str, identity: str, what: str, since: int, within: float) -> Finding:
    """Return what is that grave if it has been so since longer ago than `within` seconds; `since` in ms."""
    age = age_of(since)
    if age > within:
        return Finding(gravity, subject, identity, what, age)
    return Finding(Gravity.IN_PROGRESS, subject, identity, what, age, WAIT)


def age_of(since: int) -> float:
    """Return how many seconds ago that was (ms since the epoch); what is yet to come is 0 s old."""
    return max(0.0, (now_ms() - since) / 1000)


@dataclass(frozen=True, slots=True)
class OpenStep:
    """A step that has not ended; `tries`: how often it failed."""

    name: str
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class OpenReturn:
    """A return whose saga has not ended, with the steps that are left; times in ms since the epoch.

    `due_at`: when any instance goes on with it.
    """

    order_id: int
    run_id: int
    state: str
    steps: tuple[OpenStep, ...]
    since: int
    due_at: int | None

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "subject": "order",
            "id": str(self.order_id),
            "what": self.what,
            "saga": "return",
            "run_id": str(self.run_id),
            "state": self.state,
            "steps": [{"step": step.name, "tries": step.tries, "last_error": step.error} for step in self.steps],
            "due_at": None if self.due_at is None else rfc3339(self.due_at),
            "age_seconds": age_of(self.since),
        }

    @property
    def what(self) -> str:
        """What it is at, in a sentence."""
        steps = "; ".join(_told(step) for step in self.steps) or "no step is left"
        return f"the return is {self.state}: {steps}"

    @property
    def due_in(self) -> float:
        """In how many seconds it goes on."""
        return max(0.0, ((self.due_at or 0) - now_ms()) / 1000)


@dataclass(frozen=True, slots=True)
class OtherCharge:
    """Money of another amount or currency than its order owed, which is back; `refunded_at` in ms since the epoch."""

    order_id: int
    provider: str
    charge_id: str
    took: str
    owed: str
    reason: str | None
    refunded_at: int | None

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "subject": "payment",
            "id": str(self.order_id),
            "what": self.what,
            "provider": self.provider,
            "charge_id": self.charge_id,
            "reason": self.reason,
            "refunded_at": None if self.refunded_at is None else rfc3339(self.refunded_at),
        }

    @property
    def what(self) -> str:
        """What happened, in a sentence."""
        return f"{self.provider} took {self.took} ({self.charge_id}), {self.owed} were owed; it was sent back"


@dataclass(frozen=True, slots=True)
class SentBack:
    """How many such charges there are, and the newest of them."""

    count: int = 0
    newest: tuple[OtherCharge, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return them for programs."""
        return {"count": self.count, "newest": [one.as_json() for one in self.newest]}


@dataclass(slots=True)
class Report:
    """A whole comparison. `under_way`: what takes its time, which is no finding while it does.

    `sent_back`: money of another amount or currency. That it came stays worth knowing; nothing is to be done.
    """

    checked: dict[str, int] = field(default_factory=dict)
    participants: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    under_way: list[OpenReturn] = field(default_factory=list)
    sent_back: SentBack = field(default_factory=SentBack)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, found: list[Finding]) -> None:
        """Take findings over."""
        self.findings += found[: max(0, KEPT - len(self.findings))]
        self.counts.update(finding.gravity.value for finding in found)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.counts

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "clean": self.clean,
            "checked": self.checked,
            "participants": self.participants,
            "counts": {gravity.value: self.counts[gravity.value] for gravity in Gravity},
            "findings": [
                {
                    "gravity": f.gravity.value,
                    "subject": f.subject,
                    "id": f.id,
                    "what": f.what,
                    "age_seconds": f.age,
                    "remedy": f.remedy,
                    "participant": f.participant,
                }
                for f in self.findings
            ],
            "under_way": [one.as_json() for one in self.under_way],
            "sent_back": self.sent_back.as_json(),
        }


def _told(step: OpenStep) -> str:
    return f"{step.name} failed {step.tries} times, {step.error}" if step.tries else f"{step.name} is to be done"
