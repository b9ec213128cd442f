"""What drills report: the catalogue, the JSON document and the page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from console.story import tell
from lab.commands.drill import command
from lab.drill import catalogue, page
from lab.drill.catalogue import kills
from lab.drill.drill import ServerKind
from lab.drill.event_log import written_to
from lab.drill.result import SCHEMA, Event, Invariant, Kind, Report, Result
from lab.drill.screen import Screen
from ops.errors import CommandFailed
from ops.places import PACKAGES
from tests.stories import entry

AT = 1_780_000_000_000
NASTY = "<script>alert('x')</script> & \"so on\""


def result(name: str = "kill-something", reason: str | None = None) -> Result:
    told = ((0, Kind.STEP, "begins"), (500, Kind.FAULT, NASTY), (2000, Kind.SETTLED, "ends"))
    events = [Event(AT + after, kind, text) for after, kind, text in told]
    nasty = entry(NASTY, "broker", items=[{"quantity": 2}], of={"tx_id": "7"})
    unknown = entry("deduction", "stock", None, known=False, reason="gone")
    return Result(
        name, "order is killed", NASTY, "all of it", AT, 5.4, "one check interval + 5 s", 2.5, 1.5, reason, "42",
        events, tell(None, [nasty, unknown], order_id="42", now_ms=AT + 9_000),
        [Invariant("agree", {"orders": 3, "closed": 1}, [NASTY] if reason else [])],
        "/evidence" if reason else None, f"./scripts/drill {name}",
    )  # fmt: skip


def report(*results: Result) -> Report:
    return Report(AT, 12.3, "embedded", "Linux 6, Python 3.11", results)


class Page(HTMLParser):
    """Collects tags, what they load, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [of or "" for name, of in attrs if name == "id"]
        for name, of in attrs:
            if name == "href" and (of or "").startswith("#"):
                self.targets.append((of or "")[1:])
            elif name in {"src", "href", "srcset", "data", "action"}:
                self.loads.append(f"{tag} {name}")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_every_drill_has_a_name_of_its_own_and_a_line() -> None:
    """Names are unique and can be typed; each says in one line what breaks, where, and what must hold."""
    names = [drill.name for drill in catalogue.DRILLS]
    assert len(set(names)) == len(names)
    for drill in catalogue.DRILLS:
        assert re.fullmatch(r"[a-z0-9_.-]+", drill.name)
        for line in (drill.breaks, drill.where, drill.holds):
            assert line
            assert "\n" not in line


def test_the_documentation_lists_every_drill() -> None:
    """docs/drills.md has each one's line, or that of its family, as --list tells it."""
    documented = (PACKAGES / "docs" / "drills.md").read_text()
    for drill in catalogue.DRILLS:
        if drill not in kills.DRILLS and not drill.name.startswith(("broker-gone-at-", "full-batch-")):
            line = (f"`{drill.name}`", drill.breaks, drill.where, drill.holds, drill.servers.value)
            assert f"| {' | '.join(line)} |" in documented


def test_drills_are_found_by_name_where_they_have_a_meaning() -> None:
    """An unknown one is told, as is one that needs other servers; doubled names are played once."""
    assert [d.name for d in catalogue.named(("resolve-lost", "resolve-lost"), ServerKind.REAL)] == ["resolve-lost"]
    with pytest.raises(CommandFailed, match="no drill 'resolve'"):
        catalogue.named(("resolve",), ServerKind.EMBEDDED)
    with pytest.raises(CommandFailed, match="needs real servers: add --real"):
        catalogue.named(("redis-down",), ServerKind.EMBEDDED)
    with pytest.raises(CommandFailed, match="needs embedded servers: leave --real out"):
        catalogue.named(("disk-full",), ServerKind.REAL)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """One self-contained file: no script, no link, nothing fetched; what was written down is text, whatever it is."""
    found = Page(page.render(report(result(), result("failed", NASTY))))
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert found.loads == []
    assert found.words.count(NASTY) >= 6
    assert "width=device-width" in page.render(report(result()))


def test_the_page_tells_verdicts_times_and_stories() -> None:
    """Passed of all, seconds to recover and their limit, what was broken when, the order's timeline, the figures."""
    words = " ".join(Page(page.render(report(result(), result("failed", "it broke")))).words.split())
    for part in (
        "1 / 2 drills passed",
        "settled in 1.5 s",
        "+0.50 s",
        "begins",
        "orders 3 · closed 1",
        '"quantity": 2',
    ):
        assert part in words
    assert "Evidence: /evidence" in words
    assert "Again: ./scripts/drill failed" in words
    assert "what stock holds: not known" in words


def test_each_step_of_a_picture_leads_to_its_evidence_on_the_page() -> None:
    """Of several drills on one page, each to its own."""
    found = Page(page.render(report(result(), result("failed", "it broke"))))
    assert found.targets == [f"{name}-step-{number}" for name in ("kill-something", "failed") for number in (1, 2)]
    assert set(found.targets) <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)


def test_the_axis_spans_the_events() -> None:
    """Marks lie between 0 and 100 %, recovery from the last fault to where it was settled."""
    axis = page.axis(result())
    assert [mark.left for mark in axis.marks] == [0.0, 25.0, 100.0]
    assert (axis.fault, axis.settled, axis.seconds) == (25.0, 100.0, 2.0)
    empty = result()
    empty.events = []
    assert page.axis(empty).marks == []


def test_the_json_document_states_its_schema() -> None:
    """Programs find the schema's version, the verdicts, RFC 3339 times and the figures."""
    document = json.loads(json.dumps(report(result(), result("failed", "it broke")).as_json()))
    assert document["schema"] == SCHEMA == "orders-drill/1"
    assert (document["verdict"], document["passed"], document["failed"]) == ("failed", 1, 1)
    first, second = document["drills"]
    assert (first["verdict"], second["verdict"], second["reason"]) == ("passed", "failed", "it broke")
    assert first["events"][1]["kind"] == "fault"
    assert first["events"][1]["at"] == "2026-05-28T20:26:40.500Z"
    assert first["invariants"] == [
        {"name": "agree", "holds": True, "figures": {"orders": 3, "closed": 1}, "broken": []}
    ]


def test_events_are_written_as_they_happen(tmp_path: Path) -> None:
    """One JSON object a line, beside what is told otherwise."""
    told: list[str] = []
    both = written_to(tmp_path / "events.jsonl", lambda name, event: told.append(f"{name}: {event.text}"))
    for event in result().events:
        both("a-drill", event)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert told == ["a-drill: begins", f"a-drill: {NASTY}", "a-drill: ends"]
    assert lines[1] == {"drill": "a-drill", "at": "2026-05-28T20:26:40.500Z", "kind": "fault", "text": NASTY}


def test_the_terminal_tells_the_same() -> None:
    """What happens as it happens, then the story, the figures and the verdict; what it shows is no markup."""
    out = Console(record=True, width=200, file=None, quiet=False)
    with out.capture() as capture:
        screen = Screen(out, 2, brief=False, prefixed=True)
        with screen.progress():
            screen.event("kill-something", Event(AT, Kind.FAULT, "[red]killed[/red]"))
            screen.result(result())
            screen.result(result("failed", "it broke"))
        screen.summary(report(result(), result("failed", "it broke")))
    said = capture.get()
    for part in ("[red]killed[/red]", "passed kill-something, settled in 1.5 s (limit 5.4 s)", "FAILED failed",
                 "orders 3, closed 1", "evidence: /evidence", "again:    ./scripts/drill failed",
                 "1 of 2 drills passed", "Nearest to its limit"):  # fmt: skip
        assert part in said


def test_the_command_lists_and_refuses() -> None:
    """--list shows every drill; neither a name nor --all, or both, is a mistake that is told."""
    listed = CliRunner().invoke(command, ["--list"])
    assert listed.exit_code == 0
    assert f"{len(catalogue.DRILLS)} drills" in listed.output
    for words in ([], ["--all", "resolve-lost"]):
        refused = CliRunner().invoke(command, words)
        assert refused.exit_code == 2
        assert "--list" in refused.output
