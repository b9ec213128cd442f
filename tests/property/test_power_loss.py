"""Power loss at any moment: whatever of the unsynced reached the disk, what was acknowledged is there, and no half."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import main
from lab.commands import drill_power_loss
from lab.drill.power_loss.forgetful import Event
from lab.drill.power_loss.images import images
from lab.drill.power_loss.judge import judge
from lab.drill.power_loss.recorder import Statement, recorded
from lab.drill.power_loss.workloads import WORKLOADS

_IMAGES = 120  # of each file; `./scripts/drill power-loss` does more


@pytest.mark.parametrize("name", WORKLOADS)
def test_what_was_acknowledged_is_there(tmp_path: Path, name: str) -> None:
    """The broker's file and services' databases, by the statements of our own code."""
    with recorded() as recording:
        WORKLOADS[name](tmp_path / "recorded.db")
    verdict = judge(recording.statements, tmp_path / "replays", seed=5, most=_IMAGES)
    assert verdict.wrong == []
    assert verdict.judged.total() == _IMAGES
    assert verdict.transactions > 15
    assert {"PRAGMA synchronous=FULL", "PRAGMA journal_mode=WAL"} <= {one.sql for one in recording.statements}


def _things(*pragmas: str) -> list[Statement]:
    return [
        *(Statement(f"PRAGMA {pragma}") for pragma in pragmas),
        Statement("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"),
        *(
            Statement(sql, parameters)
            for number in range(12)
            for sql, parameters in (
                ("BEGIN IMMEDIATE", ()),
                ("INSERT INTO things (name) VALUES (?)", [f"{number}" * 3000]),
                ("INSERT INTO things (name) VALUES (:name)", {"name": "small"}),
                ("COMMIT", ()),
            )
        ),
    ]


@pytest.mark.parametrize(
    ("pragmas", "found"),
    [
        (("journal_mode=WAL", "synchronous=FULL"), None),
        (("journal_mode=WAL", "synchronous=NORMAL"), "were acknowledged"),
        (("journal_mode=WAL", "synchronous=OFF"), "damaged|can't be opened|half of a transaction"),
        (("journal_mode=DELETE", "synchronous=FULL"), "were acknowledged"),  # the journal's deletion is not synced
        (("journal_mode=DELETE", "synchronous=EXTRA"), None),
    ],
)
def test_settings_that_lose_something_are_caught(tmp_path: Path, pragmas: Sequence[str], found: str | None) -> None:
    """What a commit leaves unsynced is found to be lost; what is synced is not."""
    verdict = judge(_things(*pragmas), tmp_path / "replays", most=150)
    if found is None:
        assert verdict.wrong == []
    else:
        assert any(part in wrong for part in found.split("|") for wrong in verdict.wrong)


def test_images_hold_what_was_synced_and_any_part_of_the_rest() -> None:
    """Nothing, everything, the first of it, any of it, or any of it in part; a seed gives the same ones."""
    events = [
        Event("write", "db", 0, b"a" * 1024),
        Event("sync", "db"),
        Event("write", "db", 1024, b"b" * 1024),
        Event("truncate", "db", 512),
        Event("write", "db-wal", 0, b"c" * 24),
        Event("delete", "db-journal"),
        Event("committed", at=1),
    ]
    made = list(images(events, seed=1, most=1000))
    assert [(one.moment, one.way, one.files) for one in made] == [
        (one.moment, one.way, one.files) for one in images(events, seed=1, most=1000)
    ]
    assert len(made) == 8 * 5
    last = [one for one in made if one.moment == len(events)]
    assert last[0].files == {"db": b"a" * 1024}
    assert last[1].files == {"db": b"a" * 512, "db-wal": b"c" * 24}
    many = {one.files["db"] for seed in range(40) for one in images(events[:3], seed=seed, most=1000) if one.moment > 1}
    half = b"a" * 1024
    assert many == {half, half + b"b" * 1024, half + b"b" * 512, half + bytes(512) + b"b" * 512}


def test_deletions() -> None:
    """One is durable if its directory was synced, at once or by the first sync of a new log; else it may be undone."""
    made = [Event("write", "j", 0, b"x"), Event("sync", "j")]

    def left(*events: Event) -> list[set[str]]:
        return [set(one.files) for one in images([*made, *events], seed=1, most=99) if one.moment == 2 + len(events)]

    assert {"j"} in left(Event("delete", "j"))
    assert set() in left(Event("delete", "j"))
    assert not any(left(Event("delete", "j", at=1)))
    assert all("j" not in files for files in left(Event("delete", "j"), Event("sync", "a-wal")))
    again = [Event("delete", "j"), Event("write", "j", 1, b"y")]
    contents = {
        one.files.get("j", b"")
        for seed in range(20)
        for one in images([*made, *again], seed=seed, most=99)
        if one.moment == 4
    }
    assert contents == {b"x", b"", b"\0y"}  # of the new file nothing is in the old one


def test_connections_that_only_read_are_left_out(tmp_path: Path) -> None:
    """Their statements would stand in the middle of a writer's; all else is there, with its parameters."""
    with (
        recorded() as recording,
        closing(sqlite3.connect(tmp_path / "a.db")) as writer,
        closing(sqlite3.connect(tmp_path / "a.db")) as reader,
    ):
        writer.execute("CREATE TABLE things (id)")
        writer.executemany("INSERT INTO things VALUES (?)", iter([(1,), (2,)]))
        reader.execute("PRAGMA query_only=ON")
        writer.commit()
        writer.rollback()
        writer.execute("DELETE FROM things WHERE id = :id", {"id": 1})
        writer.rollback()
        reader.execute("SELECT * FROM things")
    assert [(one.sql, one.parameters) for one in recording.statements] == [
        ("CREATE TABLE things (id)", []),
        ("INSERT INTO things VALUES (?)", [1]),
        ("INSERT INTO things VALUES (?)", [2]),
        ("COMMIT", []),
        ("DELETE FROM things WHERE id = :id", {"id": 1}),
        ("ROLLBACK", []),
    ]


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says what it did of each file; what is wrong is told and kept, with exit code 1."""

    def work(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in ("journal_mode=WAL", f"synchronous={setting}"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE things (id)")
            connection.execute("INSERT INTO things VALUES (1)")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(drill_power_loss, "WORKLOADS", {"things": work})
    monkeypatch.setattr(drill_power_loss, "log_to", lambda _: None)
    setting = "FULL"
    done = CliRunner().invoke(main, ["drill", "power-loss", "--images", "500"], catch_exceptions=False)
    assert (done.exit_code, done.output.endswith("images, 0 wrong\n")) == (0, True), done.output
    assert not any(tmp_path.iterdir())
    setting = "OFF"
    done = CliRunner().invoke(main, ["drill", "power-loss", "--images", "500"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "were acknowledged" in done.output
    assert any(tmp_path.glob("orders-power-loss-*/things/image-*/replayed.db"))
