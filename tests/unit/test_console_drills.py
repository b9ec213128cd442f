"""Drills that are started from the console: one at a time, bounded, known by their folders; never in production."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import console.app
from common.errors import Malformed
from console.service.breaking import named
from console.service.drills import KEPT, Drill, DrillRuns, Drills
from console.story import tell, verify, write_file
from halfmessage.errors import DatabaseUnavailable, NotFound, Unavailable
from lab.drill import faults
from ops.deployment import Deployment, Plan
from ops.places import PACKAGES
from tests.stories import AT, half, order_row
from tests.support import eventually
from tests.unit.console_site import Browser, running, token

NAME = "kill-order.deducted"
HOSTILE = "<script>alert(1)</script>"
RESULT = {
    "verdict": "passed",
    "recovery": 1.5,
    "limit": 5.4,
    "reason": None,
    "sentence": f"It stands. {HOSTILE}",
    "invariants": [{"name": "stock agrees", "holds": True, "figures": {"orders": 1}, "broken": []}],
    "evidence": None,
    "repeat": "./scripts/drill x",
}
_PLAYS = f"""
import json, os, sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
with open(given["events"], "a") as events:
    told = {{"at": "2026-05-28T20:26:40.500Z", "kind": "fault", "text": {HOSTILE!r}}}
    events.write(json.dumps(told) + "\\n" + '{{"at"')
"""
_REPORTS = f"""
json.dump({{"drills": [json.loads({json.dumps(RESULT)!r})]}}, open(given["json"], "w"))
open(given["html"], "w").write("<p>the report</p>")
"""
_TELLS = f"""
open(given["story"], "w").write({write_file(tell(order_row(), [half(answer=HOSTILE)], order_id="7", now_ms=AT))!r})
"""
_GOES_ON = "import time; time.sleep(60)"
Made = Callable[..., Drills]


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Return what makes the drills of one folder, whose command is some Python, closed after the test."""
    opened: list[Drills] = []

    def make(code: str, **options: Any) -> Drills:
        opened.append(Drills(tmp_path / "drills", command=command(_PLAYS + code), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def played(drills: Drills, drill_id: int = 7) -> Drill:
    """Play one; return how it ended."""
    told: list[Drill] = []
    drills.start(drill_id, NAME, "root", ended=told.append)
    (drill,) = eventually(lambda: told, within=30)
    return drill


def test_what_can_be_chosen_is_what_drills_can_break() -> None:
    """After a change: ./scripts/render."""
    told = json.loads((PACKAGES / "console" / "faults.json").read_text())
    assert told == faults.document()
    assert named(NAME)[0].point == "order.deducted"


def test_a_drill_s_report_and_events_are_told(made: Made) -> None:
    """By whichever console looks; a line that is not whole yet is left for the next look."""
    drill = played(made(_REPORTS))
    assert (drill.result, drill.failure, drill.who, drill.is_running) == (RESULT, "", "root", False)
    another = made("")
    assert another.all() == [drill]
    assert another.one(7) == drill
    assert [event["kind"] for event in another.events(7)] == ["fault"]
    assert another.page(7) == b"<p>the report</p>"
    assert another.running() is None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('No port is free.'); sys.exit(2)", "It said last: No port is free."),
        ("", "It said last: nothing"),
        ("import time; time.sleep(60)", "It did not end within 0.5 s"),
    ],
)
def test_a_drill_without_a_report_says_why(made: Made, code: str, why: str) -> None:
    """That is no verdict, and the next one can begin."""
    drills = made(code, longest=0.5 if "sleep" in code else 30.0)
    drill = played(drills)
    assert drill.result is None
    assert why in drill.failure
    with pytest.raises(NotFound):
        drills.page(7)
    assert played(drills, 8).drill_id == 8


def test_one_drill_at_a_time_whichever_console_started_it(made: Made, tmp_path: Path) -> None:
    """The lock is the drill's own: another console sees that it runs, and refuses; closing the first ends it."""
    first, second, ended = made("import time; time.sleep(60)"), made(_REPORTS), threading.Event()
    first.start(7, NAME, "anna", ended=lambda _: ended.set())
    eventually(lambda: first.events(7), within=30)
    under_way = second.running()
    assert under_way is not None
    assert (under_way.drill_id, under_way.who, under_way.failure) == (7, "anna", "")
    with pytest.raises(DrillRuns):
        second.start(8, NAME, "bert", ended=lambda _: None)
    assert not (tmp_path / "drills" / "8").exists()
    first.close()
    assert ended.is_set()
    assert played(second, 9).result == RESULT


def test_as_many_reports_are_kept_as_are_told(made: Made) -> None:
    """The oldest make room."""
    drills = made(_REPORTS)
    for drill_id in range(1, KEPT):
        (drills._folder / str(drill_id)).mkdir(parents=True)
        (drills._folder / str(drill_id) / "asked.json").write_text(
            json.dumps({"drill": "of-another-release", "who": "x", "began_at": 5})
        )
    played(drills, 100)
    played(drills, 101)
    assert [drill.drill_id for drill in drills.all()] == [101, 100, *range(KEPT - 1, 1, -1)]
    assert drills.all()[-1].fault.drill == "of-another-release"
    with pytest.raises(NotFound):
        drills.one(1)


@pytest.mark.parametrize("report", ["", '{"drills": [{"ver', '{"drills": []}', "[]"])
def test_a_report_that_was_cut_is_none(made: Made, tmp_path: Path, report: str) -> None:
    """The disk was full, or the drill was killed over it: the page is shown, and says so."""
    drills = made(_REPORTS)
    played(drills)
    (tmp_path / "drills" / "7" / "report.json").write_text(report)
    assert [drill.result for drill in (*drills.all(), drills.one(7))] == [None, None]
    assert "ended without a report" in drills.one(7).failure


@pytest.mark.parametrize("asked", ["", '{"drill": "kill', "{}", "[]"])
def test_a_drill_of_which_nothing_is_known_is_left_out(made: Made, tmp_path: Path, asked: str) -> None:
    """The others are shown, and the next one can begin."""
    drills = made(_REPORTS)
    played(drills, 6)
    (tmp_path / "drills" / "7").mkdir()
    (tmp_path / "drills" / "7" / "asked.json").write_text(asked)
    assert [drill.drill_id for drill in drills.all()] == [6]
    assert drills.running() is None
    with pytest.raises(NotFound):
        drills.one(7)
    assert played(drills, 8).result == RESULT


def test_a_drill_whose_folder_was_deleted_ends_all_the_same(made: Made) -> None:
    """How is not known, and the next one can begin."""
    drills, told = made("import shutil; shutil.rmtree(os.path.dirname(given['json']))"), []
    drills.start(7, NAME, "root", ended=told.append)
    drills._thread.join(30)
    assert (drills.all(), told) == ([], [])
    assert played(made(_REPORTS), 8).result == RESULT


def test_a_drill_gets_none_of_our_settings(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the secret nor where the deployment's databases are."""
    monkeypatch.setenv("ORDERS_JWT_SECRET", "x" * 40)
    drill = played(made("print([name for name in os.environ if name.startswith('ORDERS_')], sys.argv[-1])"))
    assert f"[] {NAME}" in drill.failure


def test_what_is_no_drill_is_refused(made: Made, tmp_path: Path) -> None:
    """Before anything is written: a name is an argument of a command."""
    for name in ("", "--data-dir=/", "random", "kill-nothing"):
        with pytest.raises(Malformed):
            made("").start(7, name, "root", ended=lambda _: None)
    assert not (tmp_path / "drills").exists()


def test_a_command_that_can_t_be_started(tmp_path: Path) -> None:
    """It is said, and nothing is left locked."""
    drills = Drills(tmp_path / "drills", command=[str(tmp_path / "nothing")])
    with pytest.raises(Unavailable, match="could not be started"):
        drills.start(7, NAME, "root", ended=lambda _: None)
    assert drills.running() is None


def test_an_end_that_can_t_be_written_down_is_told_all_the_same(made: Made) -> None:
    """The console's database may be away when a drill ends."""

    def fails(_: Drill) -> None:
        raise DatabaseUnavailable

    drills = made(_REPORTS)
    drills.start(7, NAME, "root", ended=fails)
    eventually(lambda: drills.one(7).result, within=30)
    drills.close()


@pytest.mark.parametrize(
    ("environment", "may"),
    [
        ({}, "true"),
        ({"ORDERS_ENVIRONMENT": "production"}, "false"),
        ({"ORDERS_CONSOLE_DRILLS": "false"}, "false"),
    ],
)
def test_a_deployment_of_a_clone_may_have_its_drills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], may: str
) -> None:
    """Not in production, nor where a setting says otherwise; the console alone is told, and what it keeps is ours."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    deployment = Deployment(tmp_path / "var", Plan(console=True))
    deployment.directory.make()
    given = {name: deployment._environment(name).get("ORDERS_CONSOLE_DRILLS") for name in deployment.plan.processes}
    assert given == {**dict.fromkeys(given), "console": may}
    (tmp_path / "var" / "drills").mkdir()
    deployment.directory.reset()
    assert not any((tmp_path / "var").iterdir())


# The pages


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Return an administrator at a console whose drills are played at once."""
    monkeypatch.setattr(console.app, "Drills", partial(Drills, command=command(_PLAYS + _REPORTS)))
    with running(tmp_path, console_drills=True, console_data_dir=tmp_path) as service:
        service.start[1]()
        yield Browser(service, token())


def hidden(html: str) -> dict[str, str]:
    form = html.partition('action="/drills/start"')[2].partition("</form>")[0]
    words = [part.partition('"')[0] for part in form.split('name="')[1:3]]
    values = [part.partition('"')[0] for part in form.split('value="')[1:3]]
    return dict(zip(words, values, strict=True))


def test_a_fault_is_chosen_watched_and_judged(site: Browser) -> None:
    """Once for each form; who did it is kept; the report is a page that can neither run nor load anything."""
    fields = {**hidden(site.get("/drills").text), "drill": NAME}
    where = site.post("/drills/start", fields).headers["Location"]
    eventually(lambda: "passed" in site.get(where).text, within=30)
    told = site.get(where).text
    assert "stock agrees" in told
    assert HOSTILE not in told
    assert "hx-trigger" not in told.partition("<main")[2]
    assert site.post("/drills/start", fields).headers["Location"] == "/drills"
    assert site.get("/drills").text.count(f">{NAME}</a>") == 1
    report = site.get(f"{where}/report.html")
    assert report.text == "<p>the report</p>"
    policy = report.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("; sandbox")
    assert site.get("/drills/5").status_code == 404


def test_the_order_is_seen_to_heal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a drill runs: its order's picture so far, with the evidence of each step, in the part that is polled."""
    monkeypatch.setattr(console.app, "Drills", partial(Drills, command=command(_PLAYS + _TELLS + _GOES_ON)))
    with running(tmp_path, console_drills=True, console_data_dir=tmp_path) as service:
        service.start[1]()
        site = Browser(service, token())
        where = site.post("/drills/start", {**hidden(site.get("/drills").text), "drill": NAME}).headers["Location"]
        part = eventually(lambda: (found := site.get(where, HX_Request="true").text).count("<svg") and found, within=30)
        assert "Its order 7" in part
        assert 'href="#step-1"' in part
        assert 'id="step-1"' in part
        assert "every 1s" in part
        assert HOSTILE not in part
        assert f'<a href="{where}/story.html" download>' in part
        saved = site.get(f"{where}/story.html")
        assert verify(saved.text).story.order_id == "7"
        assert saved.headers["Content-Disposition"].startswith("attachment")
        assert site.get("/drills/5/story.html").status_code == 404


def test_a_story_that_is_none_is_left_out(made: Made, tmp_path: Path) -> None:
    """It was told by another release, or damaged: the drill is shown without its picture."""
    drills = made(_TELLS + _REPORTS)
    played(drills)
    story = drills.story(7)
    assert story is not None
    assert story.order_id == "7"
    file = tmp_path / "drills" / "7" / "story.html"
    file.write_text(file.read_text().replace("</html>", ""))
    assert drills.story(7) is None
    file.write_bytes(b"\xff")
    assert drills.story(7) is None
    file.unlink()
    assert drills.story(7) is None


def test_a_drill_that_is_none_breaks_nothing(site: Browser) -> None:
    """It is a fault of the form, and is not written down."""
    fields = {**hidden(site.get("/drills").text), "drill": "random"}
    assert site.post("/drills/start", fields).status_code == 400
    assert "Nothing was broken" in site.get("/drills").text


def test_a_second_drill_meanwhile_is_led_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says who breaks what, and asks again until it is over."""
    monkeypatch.setattr(console.app, "Drills", partial(Drills, command=command(_PLAYS + "import time; time.sleep(60)")))
    with running(tmp_path, console_drills=True, console_data_dir=tmp_path) as service:
        service.start[1]()
        site = Browser(service, token())
        forms = [{**hidden(site.get("/drills").text), "drill": NAME} for _ in range(2)]
        where = site.post("/drills/start", forms[0]).headers["Location"]
        assert site.post("/drills/start", forms[1]).headers["Location"] == "/drills"
        html = site.get("/drills").text
        assert f'<a href="{where}">look on</a>' in html
        for path in ("/drills", where):
            part = site.get(path, HX_Request="true").text
            assert part.lstrip().startswith("<div id=")
            assert f'hx-get="{path}"' in part


def test_no_other_user_finds_the_page(site: Browser, tmp_path: Path) -> None:
    """Neither users, nor admins where drills are not allowed."""
    other = tmp_path / "other"
    other.mkdir()
    with running(other, console_data_dir=other) as service:
        service.start[1]()
        for path in ("/drills", "/drills/5", "/drills/5/report.html"):
            assert Browser(service, token()).get(path).status_code == 404
        assert "Drills" not in Browser(service, token()).get("/").text
    assert not (other / "drills").exists()
    site.client.set_cookie("orders_console", token("ann", ("orders",)), domain="localhost")
    assert site.get("/drills").status_code == 404
