"""Replays statements on forgetful files, and holds what is left of them against what was acknowledged."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from halfmessage.sqlite_file import damage
from lab.drill.power_loss.forgetful import Event, Forgetful, forgetful, rows
from lab.drill.power_loss.images import Files, Image, images
from lab.drill.power_loss.recorder import Statement

CHECKPOINT_AFTER = 12
"""Pages of log after which a replay has SQLite check-point: a short replay would not reach the 1,000."""

_NAME = "replayed.db"

State = Mapping[str, Sequence[str]]


@dataclass(slots=True)
class Replay:
    """What happened to the files, and the whole content after each commit; before the first there is nothing."""

    events: list[Event]
    states: list[State] = field(default_factory=lambda: [{}])


@dataclass(slots=True)
class Verdict:
    """How many images were judged, by what of the unsynced had reached the disk; and what was wrong, in words."""

    judged: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    transactions: int = 0
    events: int = 0


def replay(statements: Sequence[Statement], directory: Path) -> Replay:
    """Execute statements in a file in an empty directory. What was refused was not recorded.

    A commit is acknowledged when its statement has returned: so our code tells its caller.
    """
    with forgetful() as vfs:
        done = Replay(vfs.events)
        with closing(apsw.Connection(str(directory / _NAME), vfs=vfs.name)) as connection:
            connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_AFTER}")
            for statement in statements:
                _execute(connection, statement)
                if not connection.in_transaction:
                    _acknowledge(connection, vfs, done)
        return done


def _execute(connection: apsw.Connection, statement: Statement) -> None:
    parameters: Any = statement.parameters
    connection.execute(statement.sql, parameters or None).fetchall()


def _acknowledge(connection: apsw.Connection, vfs: Forgetful, done: Replay) -> None:
    state = rows(connection)
    if state != done.states[-1]:
        done.states.append(state)
        vfs.events.append(Event("committed", at=len(done.states) - 1))


def judge(statements: Sequence[Statement], directory: Path, *, seed: int = 1, most: int = 300) -> Verdict:
    """Replay statements, and judge at most `most` images of their files: each in a new directory below `directory`."""
    live = directory / "live"
    live.mkdir(parents=True)
    done = replay(statements, live)
    verdict = Verdict(transactions=len(done.states) - 1, events=len(done.events))
    for number, image in enumerate(images(done.events, seed=seed, most=most)):
        place = directory / f"image-{number}"
        wrong = _wrong(image, done, place)
        verdict.judged[image.way] += 1
        if wrong:
            verdict.wrong.append(f"after event {image.moment} of {verdict.events}, {image.way} written: {wrong}")
        else:
            _remove(place)
    return verdict


def _wrong(image: Image, done: Replay, place: Path) -> str:
    """Return what is wrong with an image, nothing if it holds all that was acknowledged, and nothing by half."""
    known = max((event.at for event in done.events[: image.moment] if event.kind == "committed"), default=0)
    path = _written(image.files, place)
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # of the image, which is deleted
            if said := damage(connection):
                return f"damaged: {said}"
            found = rows(connection)
    except sqlite3.Error as error:
        return f"can't be opened: {error}"
    if found in done.states[known : known + 2]:  # the next one may have been on its way
        return ""
    if found in done.states[:known]:
        return f"{known} transactions were acknowledged, {done.states.index(found)} are there"
    return f"half of a transaction is there: no state of {known} or {known + 1} transactions"


def _written(files: Files, place: Path) -> Path:
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place / _NAME


def _remove(place: Path) -> None:
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
