"""What came out of random runs: for the terminal, for programs, for people."""

from collections import Counter
from typing import Any

from lab.drill.nemesis.run import Run
from lab.report.page import render
from lab.report.report import Report as AnyReport
from lab.report.terminal import verdict

SCHEMA = "orders-drill-random/1"
"""The version of the JSON document; a member may be added under it, none changed or taken away."""


class Report(AnyReport[Run]):
    """All runs of one command."""

    @property
    def answers(self) -> Counter[str]:
        """What clients were told, over all runs."""
        return sum((run.answers for run in self.results), Counter())

    @property
    def injections(self) -> Counter[str]:
        """How often each kind of fault struck, over all runs."""
        return Counter(one.fault.kind.value for run in self.results for one in run.injections if not one.skipped)

    @property
    def skipped(self) -> int:
        """How many faults could not be carried out."""
        return sum(bool(one.skipped) for run in self.results for one in run.injections)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `SCHEMA` names."""
        return self.head(SCHEMA) | {
            "answers": dict(self.answers.most_common()),
            "faults": dict(self.injections.most_common()),
            "faults_skipped": self.skipped,
            "runs": [_as_json(run) for run in self.results],
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
    told = ", ".join(f"{number} x {answer}" for answer, number in sorted(run.answers.items()))
    quiet = "never quiet" if run.quiet_after is None else f"quiet after {run.quiet_after:.1f} s"
    if run.dropped:
        quiet += f" (RocketMQ dropped {run.dropped} of its messages)"
    faults = f"{len(run.plan.faults)} faults"
    return (
        f"{verdict(run)} seed {run.plan.seed} ({run.plan.regime}): {faults}; {told}; {quiet}, {run.took:.1f} s in all"
    )


def page(report: Report) -> str:
    """Return the page for people."""
    return render("random.html.j2", report=report)
