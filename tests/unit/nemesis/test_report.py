"""What random runs are reported as: verdicts, answers, faults, and what was nearest to its limit."""

import json
from collections import Counter

import pytest
from rich.console import Console

from lab.commands.drill_random import _sum_up
from lab.drill.drill import ServerKind
from lab.drill.nemesis import report
from lab.drill.nemesis.faults import Injection
from lab.drill.nemesis.history import Final
from lab.drill.nemesis.planner import make
from lab.drill.nemesis.run import Run

NASTY = "<script>alert('x')</script> & so on"


def run(seed: int, quiet_after: float | None, wrong: tuple[str, ...] = ()) -> Run:
    """Return a run with a limit of 2 s, of whose faults the first was left out."""
    plan = make(seed, ServerKind.EMBEDDED)
    faults = [
        Injection(fault, 0.1, 0.2, "" if number else "no such process") for number, fault in enumerate(plan.faults)
    ]
    return Run(
        plan, 2.0, list(wrong), Counter({"201": 3}), faults, final=Final({}, {}, {}, {}, [], quiet_after, 2.0),
        evidence="/kept", again=f"again {seed}",
    )  # fmt: skip


@pytest.fixture
def found() -> report.Report:
    """Return two runs that passed and one that failed."""
    runs = [run(1, 0.5), run(2, 1.5), run(3, None, (NASTY,))]
    return report.Report(1_780_000_000_000, 9.5, "embedded", "Linux", runs)


def test_the_document(found: report.Report) -> None:
    """It names its schema, and counts what passed, what clients were told and what was left out."""
    document = json.loads(json.dumps(found.as_json()))
    assert document["schema"] == report.SCHEMA == "orders-drill-random/1"
    assert (document["verdict"], document["passed"], document["failed"]) == ("failed", 2, 1)
    assert (document["answers"], document["faults_skipped"]) == ({"201": 9}, 3)
    assert [one["quiet_after"] for one in document["runs"]] == [0.5, 1.5, None]
    assert document["runs"][2]["wrong"] == [NASTY]


def test_the_page(found: report.Report) -> None:
    """It runs and loads nothing; what failed tells why, and how to repeat it."""
    page = report.page(found)
    assert not any(word in page for word in ("http:", "https:", "<script", "src=", "href="))
    assert "&lt;script&gt;" in page
    for part in ("2 of 3</b>", "Nearest to its limit: seed 2", "Seed 3 failed", "/kept", "again 3", "never"):
        assert part in page


def test_the_terminal(found: report.Report) -> None:
    """The sum tells what passed, the answers and faults, the nearest to its limit, and what failed."""
    out = Console(width=200)
    with out.capture() as capture:
        _sum_up(out, found)
    said = capture.get()
    for part in ("2 of 3 runs passed, 10 s", "Answers: 9 x 201", "Nearest to its limit: seed 2, quiet 1.5 s",
                 f"Failed: seed 3: {NASTY}"):  # fmt: skip
        assert part in said
