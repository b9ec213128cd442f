"""Logs: bounded, followed when they are moved, and complete whatever happens to the file meanwhile."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import Settings
from common.logfile import LogFile, rotate
from common.registry import NAMES
from ops.deployment import Deployment, Plan
from tests.support import eventually

WRITER = """
import sys
from pathlib import Path
from common.logfile import LogFile
path, name, number, largest, kept = sys.argv[1:]
log = LogFile(Path(path), largest=int(largest), kept=int(kept))
for i in range(int(number)):
    log.write(f"{name} {i} {'x' * 40}\\n".encode())
"""


def writer(path: Path, name: str, number: int, *, largest: int, kept: int) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-c", WRITER, str(path), name, *map(str, (number, largest, kept))]
    return subprocess.Popen(words)


@pytest.fixture
def streams() -> Iterator[None]:
    """Give this process back the output and error that a log takes over."""
    saved = [os.dup(stream) for stream in (1, 2)]
    yield
    for stream, original in zip((1, 2), saved, strict=True):
        os.dup2(original, stream)
        os.close(original)


def say(log: LogFile, line: str) -> None:
    """Log a line; then a library prints a word."""
    log.write(f"{line}\n".encode())
    os.write(1, b"raw\n")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_no_line_is_lost_while_several_write_and_any_rotates(tmp_path: Path) -> None:
    """Three processes rotate at 20 kB what they write together, and the file is moved away again and again."""
    path, number, away = tmp_path / "x.log", 2000, 0
    writers = [writer(path, f"w{n}", number, largest=20_000, kept=1000) for n in range(3)]
    while any(process.poll() is None for process in writers):
        try:
            path.rename(tmp_path / f"x.log.moved{away}")
            away += 1
        except FileNotFoundError:
            pass
        eventually(lambda: path.exists() or all(process.poll() is not None for process in writers), within=30)
    assert [process.returncode for process in writers] == [0, 0, 0]
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert len(lines) == 3 * number
    assert {line[:-41] for line in lines} == {f"w{n} {i}" for n in range(3) for i in range(number)}


@pytest.mark.usefixtures("streams")
def test_a_log_is_bounded_in_size_and_number(tmp_path: Path) -> None:
    """Of 300 kB the last 30 are kept, in files of 10, the newest lines among them."""
    path = tmp_path / "x.log"
    log = LogFile(path, largest=10_000, kept=2)
    for number in range(6000):
        log.write(f"one {number} {'x' * 40}\n".encode())
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["x.log", "x.log.1", "x.log.2"]
    assert all(file.stat().st_size < 10_100 for file in tmp_path.iterdir())
    assert "one 5999 " in path.read_text() + (tmp_path / "x.log.1").read_text()


def test_who_comes_late_to_rotate_finds_it_done(tmp_path: Path) -> None:
    """Of several who saw the size at once one rotates: the others' turn would push out an old log for nothing."""
    path = tmp_path / "x.log"
    path.write_bytes(b"x" * 100)
    assert rotate(path, largest=100, kept=2)
    path.write_bytes(b"new")
    assert not rotate(path, largest=100, kept=2)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not rotate(path, largest=1, kept=2)
    assert {file.name for file in tmp_path.iterdir()} == {"x.log", "x.log.1"}


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("how", ["moved", "deleted", "moved, another made"])
def test_a_log_that_was_moved_is_made_anew(tmp_path: Path, how: str) -> None:
    """With the next line, and what a library prints goes along; the moved file gets nothing more."""
    path = tmp_path / "x.log"
    log = LogFile(path)
    say(log, "one")
    assert read(path) == "one\nraw\n"
    if how == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / "y.log")
    if how.endswith("made"):
        path.touch()
    say(log, "two")
    assert read(path) == "two\nraw\n"
    assert how == "deleted" or read(tmp_path / "y.log") == "one\nraw\n"


@pytest.mark.usefixtures("streams")
def test_a_log_that_was_truncated_goes_on_from_its_start(tmp_path: Path) -> None:
    """As logrotate's copytruncate does: no hole of zeros as large as what was there."""
    path = tmp_path / "x.log"
    log = LogFile(path)
    say(log, "one")
    os.truncate(path, 0)
    say(log, "two")
    assert read(path) == "two\nraw\n"


@pytest.mark.usefixtures("streams")
def test_a_log_that_can_t_be_written_fails_nothing(tmp_path: Path) -> None:
    """Its directory moved away: lines go on into the file that is open, and nothing is raised."""
    path = tmp_path / "logs" / "x.log"
    path.parent.mkdir()
    log = LogFile(path, largest=1)
    say(log, "one")
    moved = path.parent.rename(tmp_path / "moved") / "x.log"
    say(log, "two")
    assert read(moved) == "one\nraw\ntwo\nraw\n"
    moved.parent.rename(path.parent)
    say(log, "three")
    assert read(path) == "three\nraw\n"


def test_settings_name_the_log_and_its_bounds(tmp_path: Path) -> None:
    """By default 16 MiB and four old files; without a file, output goes where it goes."""
    given = {"port": 1, "jwt_secret": "x" * 32, "database_url": "sqlite://"}
    assert Settings(**given).log is None  # type: ignore[arg-type]
    log = Settings(**given, log_file=tmp_path / "a").log  # type: ignore[arg-type]
    assert isinstance(log, LogFile)
    assert (log._path, log._largest, log._kept) == (tmp_path / "a", 16 * 2**20, 4)


def test_every_process_of_a_deployment_has_a_log_of_its_own(tmp_path: Path) -> None:
    """In `log/`, by its name: instances don't share one."""
    deployment = Deployment(tmp_path, Plan(instances={"order": 2}))
    deployment.directory.make()
    logs = {name: deployment._environment(name)["ORDERS_LOG_FILE"] for name in deployment.plan.processes}
    assert logs["order-2"] == str(tmp_path / "log" / "order-2.log")
    assert len(set(logs.values())) == len(NAMES) + 1
