"""What came out of drills: plain data, for the terminal, for JSON and for the page."""

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from console.story import Story
from halfmessage.clock import rfc3339
from lab.judge.invariant import Invariant
from lab.report.report import Report as AnyReport

SCHEMA = "orders-drill/1"
"""The version of the JSON document; a member may be added under it, none changed or taken away."""


class Kind(StrEnum):
    """What an event is."""

    STEP = "step"
    FAULT = "fault"
    MENDED = "mended"
    ANSWER = "answer"
    HELD = "held"
    BROKEN = "broken"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the drill did or saw; `at` in ms since the epoch."""

    at: int
    kind: Kind
    text: str


@dataclass(slots=True)
class Result:
    """One drill as it went; durations in seconds. `recovery` None: it never came to rest."""

    name: str
    breaks: str
    where: str
    holds: str
    began_at: int
    limit: float
    limit_is: str
    took: float = 0.0
    recovery: float | None = None
    reason: str | None = None
    order_id: str | None = None
    events: list[Event] = field(default_factory=list)
    story: Story | None = None
    invariants: list[Invariant] = field(default_factory=list)
    evidence: str | None = None
    repeat: str = ""

    @property
    def passed(self) -> bool:
        """The verdict."""
        return self.reason is None

    @property
    def of_limit(self) -> float | None:
        """Its recovery, as a share of what it may take."""
        return None if self.recovery is None else self.recovery / self.limit

    @property
    def claims(self) -> list[Event]:
        """What was held against the promise, and whether it held."""
        return [event for event in self.events if event.kind in {Kind.HELD, Kind.BROKEN}]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON knows it; times are RFC 3339."""
        document = asdict(replace(self, story=None))
        del document["story"]
        document["sentence"] = None if self.story is None else self.story.sentence
        document["timeline"] = [] if self.story is None else list(self.story.entries)
        document["verdict"] = "passed" if self.passed else "failed"
        document["began_at"] = rfc3339(self.began_at)
        document["events"] = [{"at": rfc3339(e.at), "kind": e.kind.value, "text": e.text} for e in self.events]
        document["invariants"] = [
            {"name": i.name, "holds": i.holds, "figures": dict(i.figures), "broken": list(i.broken)}
            for i in self.invariants
        ]
        return document


class Report(AnyReport[Result]):
    """All drills of one command."""

    def as_json(self) -> dict[str, Any]:
        """Return the document that `SCHEMA` names."""
        return self.head(SCHEMA) | {"drills": [result.as_json() for result in self.results]}
