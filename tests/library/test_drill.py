"""`halfmessage drill`: a service that is right holds at every step, and bugs that are planted in it are found."""

import shutil
from pathlib import Path

import pytest

from halfmessage.drill import steps
from halfmessage.drill.cli import BROKEN, HELD, MISUSED, main

EXAMPLE = Path(__file__).parents[2] / "examples" / "flask_20_lines"
pytestmark = [
    pytest.mark.embedded("the drilled service has an embedded broker"),
    pytest.mark.drill,
    pytest.mark.timeout(600),  # each step starts three processes
]


def test_the_example_holds_at_every_step(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Killed with SIGKILL at each point of its message, of its consumer, and of the check-back."""
    page = tmp_path / "drill.html"
    assert main(["drill", "--app", str(EXAMPLE / "app.py"), "--html", str(page)]) == HELD
    said = capsys.readouterr().out
    assert "12 of 12 steps held." in said
    for point in ("half_sent", "before_commit", "committed", "before_resolve", "resolved"):
        assert f"killed at order_paid.{point}" in said
        assert f"killed at order_paid.{point}" in page.read_text()


_COMMIT = """    with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
        session.add(Order(id=order_id))  # your session, your transaction
        m.body = {"order_id": order_id}
"""
_BUGS = {
    "the row is committed in a transaction of its own, before the message": (
        _COMMIT,
        """    with Session(engine) as own, own.begin():
        own.add(Order(id=order_id))
    with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
        m.body = {"order_id": order_id}
""",
        "killed at order_paid.half_sent",
    ),
    "the message goes first, the row after it": (
        _COMMIT,
        """    with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
        m.body = {"order_id": order_id}
    with Session(engine) as own, own.begin():
        own.add(Order(id=order_id))
""",
        "killed at order_paid.resolved",
    ),
}


def _planted(home: Path, old: str, new: str) -> Path:
    shutil.copytree(EXAMPLE, home / "planted")
    app = home / "planted" / "app.py"
    text = app.read_text()
    assert text.count(old) == 1
    app.write_text(text.replace(old, new))
    return app


@pytest.mark.parametrize("bug", _BUGS)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows and message in two transactions: whichever is first, a step between both tells."""
    old, new, step = _BUGS[bug]
    app = _planted(tmp_path, old, new)
    assert main(["drill", "--app", str(app), "--only", step, "--patience", "10"]) == BROKEN
    assert "check: " in capsys.readouterr().out


def test_an_effect_outside_of_the_session_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A consumer that does something else than write into its session does it twice, after a crash."""
    app = _planted(
        tmp_path,
        '    session.add(Mail(order_id=body["order_id"]))  # once for each order, whatever comes twice\n',
        '    with open("sent", "a") as sent:\n        sent.write(f"{body[\'order_id\']}\\n")\n',
    )
    drill = app.with_name("drill.py")
    line = "        mails = list(session.scalars(select(Mail.order_id).where(Mail.order_id == key)))\n"
    assert line in drill.read_text()
    told = '        mails = [int(line) for line in open("sent")] if paid else []\n'
    drill.write_text(drill.read_text().replace(line, told))
    assert main(["drill", "--app", str(app), "--only", "killed at mail.before_commit"]) == BROKEN
    assert "1 orders have 2 mails" in capsys.readouterr().out


def test_what_can_not_be_drilled_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No scenario, or no app: a sentence and 2."""
    (tmp_path / "app.py").write_text("")
    assert main(["drill", "--app", str(tmp_path / "app.py")]) == MISUSED
    assert "drill.py is no file" in capsys.readouterr().err


def test_steps_are_the_points_that_were_passed() -> None:
    """Each is killed at once, and the check-back of a half message too; a sender's failure is no death."""
    names = [step.name for step in steps.of("act", ["a.half_sent", "a.committed", "a.half_sent", "check.received"])]
    assert names == [
        "nothing fails",
        "killed at a.half_sent",
        "killed at a.committed",
        "killed at a.half_sent and killed at check.received",
        "killed at a.half_sent and killed at check.fenced",
        "a.before_commit fails",
    ]
