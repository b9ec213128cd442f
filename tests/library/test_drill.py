"""`halfmessage drill`: a service that is right holds at every step, and bugs that are planted in it are found."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from halfmessage.drill import processes, run, steps
from halfmessage.drill.cli import BROKEN, HELD, MISUSED, main
from tests.library.test_distribution import ROOT, TUTORIAL, blocks

EXAMPLE = Path(__file__).parents[2] / "examples" / "flask_20_lines"
pytestmark = [
    pytest.mark.embedded("the drilled service has an embedded broker"),
    pytest.mark.drill,
    pytest.mark.timeout(600),  # each step starts three processes
]


def test_the_example_holds_at_every_step(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Killed with SIGKILL at each point of its message, of its consumer, and of the check-back."""
    page = tmp_path / "drill.html"
    assert main(["drill", "--app", str(EXAMPLE / "app.py"), "--html", str(page), "--patience", "60"]) == HELD
    said = capsys.readouterr().out
    assert "17 of 17 steps held.\n" in said
    for point in ("half_sent", "before_commit", "committed", "before_resolve", "resolved"):
        assert f"killed at order_paid.{point}" in said
        assert f"killed at order_paid.{point}" in page.read_text()


_COMMIT = """    with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
        session.add(Order(id=order_id))  # your session, your transaction
        m.body = {"order_id": order_id}
"""
_SEND = '    session.add(Mail(order_id=body["order_id"]))  # once for each order, whatever comes twice\n'
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
    "two transactions of its own, and no point of the library between them": (
        _COMMIT,
        """    with Session(engine) as own, own.begin():
        own.add(Order(id=order_id))
    with Session(engine) as own, own.begin():
        own.add(Mail(order_id=order_id))
    with tx.message("order_shown", key=order_id) as m, Session(engine) as session, m.begin(session):
        m.body = {"order_id": order_id}
""",
        "killed at act.own_commit, passage 2",
    ),
    "where the broker can't be reached, the row is written without a message": (
        _COMMIT,
        """    from halfmessage.errors import HalfMessageError
    try:
        with tx.message("order_paid", key=order_id) as m, Session(engine) as session, m.begin(session):
            session.add(Order(id=order_id))
            m.body = {"order_id": order_id}
    except HalfMessageError:
        with Session(engine) as own, own.begin():
            own.merge(Order(id=order_id))
""",
        "order_paid.half_sent fails",
    ),
    "two orders count as one": (
        'm.body = {"order_id": order_id}',
        'm.body = {"order_id": order_id if order_id % 5 else 1}',
        "10 keys",
    ),
    "a consumer commits after its message was acknowledged": (
        _SEND,
        """    from threading import Timer
    def later():
        with Session(engine) as own, own.begin():
            own.add(Mail(order_id=body["order_id"]))
    Timer(0.05, later).start()
""",
        "killed at mail.handled",
    ),
}


def _planted(home: Path, old: str, new: str) -> Path:
    shutil.copytree(EXAMPLE, home / "planted")
    return _changed(home / "planted" / "app.py", old, new)


def _changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    return file


@pytest.mark.parametrize("bug", _BUGS)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each at the one step that tells."""
    old, new, step = _BUGS[bug]
    app = _planted(tmp_path, old, new)
    assert main(["drill", "--app", str(app), "--only", step, "--patience", "10"]) == BROKEN
    assert "         check" in capsys.readouterr().out


def test_an_effect_outside_of_the_session_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A consumer that does something else than write into its session does it twice, after a crash."""
    app = _planted(
        tmp_path,
        _SEND,
        '    with open("sent", "a") as sent:\n        sent.write(f"{body[\'order_id\']}\\n")\n',
    )
    drill = app.with_name("drill.py")
    line = "        mails = list(session.scalars(select(Mail.order_id).where(Mail.order_id == key)))\n"
    assert line in drill.read_text()
    told = '        mails = [int(line) for line in open("sent")] if paid else []\n'
    drill.write_text(drill.read_text().replace(line, told))
    assert main(["drill", "--app", str(app), "--only", "killed at mail.before_commit"]) == BROKEN
    assert "1 orders have 2 mails" in capsys.readouterr().out


def test_a_request_that_comes_again_is_told_from_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A client that had no answer asks again: by the message itself, instead of the order, that is another mail."""
    app = _planted(tmp_path, 'group="mail", once_per="order_id")', 'group="mail")')
    _changed(app, "        session.add(Order(id=order_id))", "        session.merge(Order(id=order_id))")
    assert main(["drill", "--app", str(app), "--only", "asked for twice", "--patience", "10"]) == BROKEN
    assert "check: 1 orders have 2 mails" in capsys.readouterr().out


def test_an_answer_that_is_not_true_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check` may take what `act` returned: a service that swallows what failed says 201, and did nothing."""
    app = _planted(
        tmp_path,
        _COMMIT,
        "    try:\n"
        + "".join(f"    {line}\n" for line in _COMMIT.splitlines())
        + '    except Exception:\n        app.logger.exception("never mind")\n',
    )
    drill = app.with_name("drill.py")
    _changed(drill, "    app.test_client().post(", "    return app.test_client().post(")
    _changed(drill, '/pay")\n', '/pay").status_code\n')
    _changed(drill, "def check(key: int)", "def check(key: int, answer: int | None)")
    drill.write_text(drill.read_text() + '    assert answer != 201 or paid, "it said 201, and nothing is paid"\n')
    assert main(["drill", "--app", str(app), "--only", "before_commit", "--patience", "10"]) == BROKEN
    said = capsys.readouterr().out
    assert "held   act: killed at order_paid.before_commit" in said
    assert "BROKEN act: order_paid.before_commit fails" in said
    assert "check: it said 201, and nothing is paid" in said


def test_a_message_that_no_consumer_can_take_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By what it lacks, not by a traceback of the drill."""
    app = _planted(tmp_path, 'm.body = {"order_id": order_id}', 'm.body = {"order": order_id}')
    assert main(["drill", "--app", str(app), "--only", "nothing fails", "--patience", "3"]) == BROKEN
    assert "mail can't take order_paid 2: The message has no 'order_id', or is no JSON." in capsys.readouterr().out


def test_a_consumer_that_nothing_comes_to_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A topic that is misspelt, or an act that is missing: what was not drilled does not count as held."""
    app = _planted(tmp_path, 'tx.message("order_paid"', 'tx.message("order_payed"')
    main(["drill", "--app", str(app), "--only", "nothing fails", "--patience", "3"])
    assert "No act came to: mail." in capsys.readouterr().out


def test_what_can_not_be_drilled_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No scenario, or no app: a sentence and 2."""
    (tmp_path / "app.py").write_text("")
    assert main(["drill", "--app", str(tmp_path / "app.py")]) == MISUSED
    assert "drill.py is no file" in capsys.readouterr().err


def test_a_service_that_hangs_is_told_from_one_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what helps where it is only the machine that is slow. One that can't act at all has no steps."""
    monkeypatch.setattr(run, "_BEYOND_PATIENCE", 10.0)
    app = _planted(tmp_path, _SEND, _SEND)
    drill = app.with_name("drill.py")
    hangs = "    import threading\n    threading.Event().wait()\n"
    _changed(drill, "def check(key: int) -> None:\n", f"def check(key: int) -> None:\n{hangs}")
    assert main(["drill", "--app", str(app), "--only", "nothing fails", "--patience", "5"]) == BROKEN
    assert "it hangs: it was ended after 15 s (on a machine this busy, raise --patience)" in capsys.readouterr().out
    _changed(drill, "def act(key: int) -> None:\n", f"def act(key: int) -> None:\n{hangs}")
    assert main(["drill", "--app", str(app), "--patience", "5"]) == MISUSED
    assert "The service could not act within 15 s" in capsys.readouterr().err


def test_a_service_that_does_nothing_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each request is refused, so that rows and mails agree: none. That is said, with what the service logged."""
    app = _planted(
        tmp_path,
        '        m.body = {"order_id": order_id}\n',
        '        session.commit()\n        m.body = {"order_id": 1}\n',
    )
    assert main(["drill", "--app", str(app)]) == MISUSED
    said = capsys.readouterr().err
    assert "act sent no message and began no saga" in said
    assert "don't commit or roll back inside" in said


def test_an_act_that_raises_though_nothing_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a step a request may fail; where nothing is killed, there is a fault."""
    app = _planted(tmp_path, '    return {"status": "paid"}, 201\n', '    raise LookupError("no such thing")\n')
    drill = app.with_name("drill.py")
    drill.write_text(drill.read_text().replace("app.test_client()", "app.testing = True\n    app.test_client()"))
    assert main(["drill", "--app", str(app), "--only", "nothing fails"]) == BROKEN
    assert "act raised LookupError('no such thing'), though nothing failed" in capsys.readouterr().out


def test_a_request_that_ends_in_an_exception_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its client has an answer, 500, and all is consistent: the row is there, the mail too."""
    app = _planted(
        tmp_path, '    return {"status": "paid"}, 201\n', '    m.body = {"order_id": order_id, "late": True}\n'
    )
    assert main(["drill", "--app", str(app), "--only", "nothing fails"]) == BROKEN
    assert "act raised Misconfigured" in capsys.readouterr().out


def test_what_a_service_imports_of_flask_is_no_app(tmp_path: Path) -> None:
    """`request` and its like raise outside of a request, whatever they are asked for."""
    app = tmp_path / "proxied.py"
    app.write_text("from flask import current_app, g, request, session\n" + (EXAMPLE / "app.py").read_text())
    scenario = tmp_path / "what.py"
    scenario.write_text("def act(key): ...\ndef check(key): ...\n")
    program = (
        "import sys; from pathlib import Path; from halfmessage.drill.scenario import load\n"
        "print(load(*map(Path, sys.argv[1:])).tx.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, app, scenario], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr) == ("shop\n", "")


def test_a_saga_is_struck_at_each_passage() -> None:
    """A point of a message is struck once; one of a saga for each of its steps."""
    passed = ["a.committed", "saga.claimed", "saga.answered", "saga.answered", "a.committed"]
    found = steps.of("act", passed, ["mail", "trip/room/do", "trip/room/undo"])
    assert [step.name for step in found] == [
        "nothing fails",
        "10 keys",
        "asked for twice",
        "killed at a.committed",
        "killed at saga.claimed",
        "killed at saga.answered",
        "killed at saga.answered, passage 2",
        "a.before_commit fails",
        "a.committed fails",
        "mail fails once",
        "trip/room/do is lost",
    ]
    assert [step.name for step in found if step.is_to_die] == [
        "killed at a.committed",
        "killed at saga.claimed",
        "killed at saga.answered",
    ]
    assert [step.name for step in found if step.must_succeed] == ["nothing fails", "10 keys"]
    assert found[6].armed == "saga.answered=kill@2"


_TRIPS = blocks(TUTORIAL)


def _trips(home: Path, old: str = "", new: str = "") -> list[str]:
    """Write the saga of the tutorial, with a bug; return the words of its drill."""
    (home / "trips.py").write_text(_TRIPS["trips.py"])
    if old:
        _changed(home / "trips.py", old, new)
    (home / "trips_drill.py").write_text(_TRIPS["trips_drill.py"])
    return ["drill", "--app", str(home / "trips.py"), "--scenario", str(home / "trips_drill.py")]


def test_a_saga_holds_at_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed each time that it is claimed, a step has answered, or was written down; done, or all undone."""
    code = main([*_trips(tmp_path), "--patience", "60"])
    said = capsys.readouterr().out
    assert code == HELD, said
    for step in (
        "act_booked: killed at saga.recorded, passage 4",
        "act_refused: killed at saga.turned",
        "act_refused: killed at saga.answered, passage 3",
    ):
        assert f"held   {step}" in said


_UNDO = """    def work(connection: Connection, done: Any) -> None:
        connection.execute(insert(Held).values(trip_id=int(call.key), number=-done["number"]))

    tx.barrier.undo(call.idempotency_key, work)
"""
_SAGA_BUGS = {
    "a compensation is missing": (
        'Outside("flight", do=hold, undo=let_go,',
        'Outside("flight", do=hold, undo=lambda call: None,',
        "act_refused: nothing fails",
        "check: a trip that is refused holds 1",
    ),
    "a step can't be undone, and one beside it is refused": (
        'Outside("flight", do=hold, undo=let_go,',
        'Outside("flight", do=hold, undo=None,',
        "act_refused: nothing fails",
        "is running and stays so: room: no room is left",
    ),
    "a step is not idempotent": (
        """    return tx.barrier.do(call.idempotency_key, lambda connection: connection.execute(one) and {"number": 1})
""",
        """    with Session(engine) as session, session.begin():
        session.execute(one)
    return {"number": 1}
""",
        "act_booked: killed at saga.answered",
        "check: a trip that is booked holds ",
    ),
    "a compensation is for a step that never came": (
        _UNDO,
        """    with Session(engine) as session, session.begin():
        session.execute(insert(Held).values(trip_id=int(call.key), number=-1))
""",
        "act_booked: trip/flight/do is lost",
        "before the call came: check: a trip that is refused holds -1",
    ),
    "a step comes after its compensation": (
        "    return tx.barrier.do(call.idempotency_key, lambda connection: connection.execute(one)"
        ' and {"number": 1})\n\n\ndef let_go(call: Call) -> None:\n' + _UNDO,
        """    with Session(engine) as session, session.begin():
        session.execute(one)


def let_go(call: Call) -> None:
    with Session(engine) as session, session.begin():
        session.execute(Held.__table__.delete().where(Held.trip_id == int(call.key)))
""",
        "act_booked: trip/flight/do is lost",
        "         check: a trip that is refused holds 1",
    ),
    "the saga is begun in another transaction than its trip": (
        "        tx.begin_saga(",
        "    with Session(engine) as session, session.begin():\n        tx.begin_saga(",
        "act_booked: killed at act.own_commit, passage 2",
        "check: a trip that is new holds 0",
    ),
}


def test_an_upgrade_with_open_runs_is_drilled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that declares another saga of the same name leaves the runs of the earlier one alone, for ever."""
    (tmp_path / "earlier").mkdir()
    words = _trips(tmp_path, 'Saga("trip", steps, deadline=3600)', 'Saga("trip", steps, deadline=3600, version=2)')
    _trips(tmp_path / "earlier")
    upgrade = [*words, "--upgrade-from", str(tmp_path / "earlier" / "trips.py"), "--only", "killed at saga.turned"]
    assert main([*upgrade, "--patience", "10"]) == BROKEN
    assert "is undoing and stays so: it was begun under a definition" in capsys.readouterr().out
    both = 'Saga("trip", steps, deadline=3600, version=2))\ntx.saga(Saga("trip", steps, deadline=3600)'
    _changed(tmp_path / "trips.py", 'Saga("trip", steps, deadline=3600, version=2)', both)
    assert main(upgrade) == HELD
    upgrade[-3] = str(EXAMPLE / "app.py")
    assert main(upgrade) == MISUSED
    assert "has to be called trips.py" in capsys.readouterr().err


@pytest.mark.parametrize("bug", _SAGA_BUGS)
def test_a_planted_bug_of_a_saga_is_found(bug: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A compensation that is missing, one that there can't be, and a step whose repetition is another effect."""
    old, new, step, told = _SAGA_BUGS[bug]
    words = [*_trips(tmp_path, old, new), "--only", step.partition(": ")[2], "--patience", "10"]
    assert main(words) == BROKEN
    said = capsys.readouterr().out
    assert f"BROKEN {step}" in said
    assert told in said


def test_steps_are_the_points_that_were_passed() -> None:
    """Each is killed at once, and the check-back of a half message too; a sender's failure is no death."""
    names = [step.name for step in steps.of("act", ["a.half_sent", "a.committed", "a.half_sent", "check.received"])]
    assert names == [
        "nothing fails",
        "10 keys",
        "asked for twice",
        "killed at a.half_sent",
        "killed at a.committed",
        "killed at a.half_sent and killed at check.received",
        "killed at a.half_sent and killed at check.fenced",
        "a.half_sent fails",
        "a.before_commit fails",
        "a.committed fails",
    ]


def _tell(words: list[str]) -> None:
    sys.stdout.write(" ".join([*words, os.environ["OF_THE_CALLER"], Path.cwd().name]))
    sys.stderr.write("and its log")


def _die(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


def _hang(_job: object) -> None:
    threading.Event().wait()


def test_a_process_of_a_drill_is_as_a_program_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory, the environment as it is now, its output and its log; it leaves nothing behind."""
    where = tmp_path / "there"
    where.mkdir()
    for value in ("one", "other"):
        monkeypatch.setenv("OF_THE_CALLER", value)
        ended = processes.run(_tell, ["a", "b"], where, 60.0)
        assert ended == processes.Ended(0, f"a b {value} there", "and its log")
    assert list(tmp_path.iterdir()) == [where]


def test_how_a_process_of_a_drill_ended_is_told(tmp_path: Path) -> None:
    """Killed, raised, and not at all within its time: then it is killed."""
    assert processes.run(_die, signal.SIGKILL, tmp_path, 60.0).status == -signal.SIGKILL
    raised = processes.run(_tell, [], tmp_path, 60.0)
    assert raised.status == 1
    assert "KeyError: 'OF_THE_CALLER'" in raised.log
    assert processes.run(_hang, None, tmp_path, 0.5).status is None


def test_a_step_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that was misspelt held nothing."""
    app = _planted(tmp_path, _SEND, _SEND)
    assert main(["drill", "--app", str(app), "--only", "kiled at"]) == MISUSED
    assert "No step has 'kiled at' in its name." in capsys.readouterr().err
