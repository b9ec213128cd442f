"""What came out of random runs: for the terminal, for programs, for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from halfmessage.clock import rfc3339
from lab.drill.nemesis.run import Run

SCHEMA = "orders-drill-random/1"
"""The version of the JSON document; a member may be added under it, none changed or taken away."""


@dataclass(frozen=True, slots=True)
class Report:
    """All runs of one command; `began_at` in ms since the epoch, `took` in seconds."""

    began_at: int
    took: float
    ground: str
    system: str
    runs: Sequence[Run]

    @property
    def failed(self) -> list[Run]:
        """Those that failed."""
        return [run for run in self.runs if not run.passed]

    @property
    def answers(self) -> Counter[str]:
        """What clients were told, over all runs."""
        return sum((run.answers for run in self.runs), Counter())

    @property
    def injections(self) -> Counter[str]:
        """How often each kind of fault struck, over all runs."""
        return Counter(one.fault.kind.value for run in self.runs for one in run.injections if not one.skipped)

    @property
    def skipped(self) -> int:
        """How many faults could not be carried out."""
        return sum(bool(one.skipped) for run in self.runs for one in run.injections)

    @property
    def slowest(self) -> Run | None:
        """The run that came nearest to its limit, or went furthest past it."""
        known = [run for run in self.runs if run.quiet_after is not None]
        return max(known, key=lambda run: (run.quiet_after or 0.0) / run.limit, default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `SCHEMA` names."""
        return {
            "schema": SCHEMA,
            "began_at": rfc3339(self.began_at),
            "took": round(self.took, 3),
            "ground": self.ground,
            "system": self.system,
            "verdict": "failed" if self.failed else "passed",
            "passed": len(self.runs) - len(self.failed),
            "failed": len(self.failed),
            "answers": dict(self.answers.most_common()),
            "faults": dict(self.injections.most_common()),
            "faults_skipped": self.skipped,
            "runs": [_as_json(run) for run in self.runs],
        }


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "seed": run.plan.seed,
        "regime": run.plan.regime,
        "verdict": "passed" if run.passed else "failed",
        "wrong": run.wrong,
        "took": round(run.took, 3),
        "quiet_after": run.quiet_after,
        "came_to_rest_last": list(run.last_open),
        "limit": run.limit,
        "dropped_by_rocketmq": run.dropped,
        "answers": dict(run.answers),
        "faults": [
            {
                "fault": str(one.fault),
                "began": one.began,
                "ended": one.ended,
                "skipped": one.skipped or None,
            }
            for one in run.injections
        ],
        "evidence": run.evidence,
        "again": run.again,
        "shrunk": run.shrunk and run.shrunk.as_json(),
    }


def line(run: Run) -> str:
    """Return one run in a line of markup."""
    sign = "[green]passed[/]" if run.passed else "[bold red]FAILED[/]"
    told = ", ".join(f"{number} x {answer}" for answer, number in sorted(run.answers.items()))
    quiet = "never quiet" if run.quiet_after is None else f"quiet after {run.quiet_after:.1f} s"
    if run.dropped:
        quiet += f" (RocketMQ dropped {run.dropped} of its messages)"
    faults = f"{len(run.plan.faults)} faults"
    return f"{sign} seed {run.plan.seed} ({run.plan.regime}): {faults}; {told}; {quiet}, {run.took:.1f} s in all"


def page(report: Report) -> str:
    """Return the page for people: one HTML file, nothing loaded from anywhere."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("lab.drill.nemesis").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(report=report, day=rfc3339(report.began_at)[:10])
