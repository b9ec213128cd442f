"""`orders profile`: a flame graph of a process that runs, or one line that says why there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from ops import profiling
from ops.cli import main
from ops.errors import CommandFailed
from ops.places import DataDir
from tests.unit.test_flash_commands import configure

_BUSY = """
def where_the_time_goes():
    while True:
        sum(range(10_000))

print("begun", flush=True)
where_the_time_goes()
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """Run a process that has one thing to do."""
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for py-spy; a test writes what it does."""
    path = tmp_path / "py-spy"
    path.touch(0o700)
    monkeypatch.setattr(profiling, "program", lambda: path)
    return path


def test_a_flame_graph(busy: int, tmp_path: Path) -> None:
    """An SVG that names the function in which the time goes; the process runs on."""
    file = tmp_path / "graph.svg"
    try:
        profiling.record(busy, file, seconds=1)
    except CommandFailed as error:
        if "does not let us look" not in error.detail or os.environ.get("CI") == "true":
            raise
        pytest.skip(error.detail)
    assert ET.parse(file).getroot().tag.endswith("svg")  # noqa: S314 - we drew it
    assert "where_the_time_goes" in file.read_text(encoding="utf-8")
    os.kill(busy, 0)


@pytest.mark.parametrize("said", ["Permission Denied: Try running again", "Error: Operation not permitted"])
def test_where_it_is_not_allowed(stub: Path, tmp_path: Path, said: str) -> None:
    """The error says how to allow it."""
    stub.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    with pytest.raises(CommandFailed) as failed:
        profiling.record(7, tmp_path / "none.svg", seconds=1)
    for word in ("process 7", "root", "ptrace_scope", "SYS_PTRACE"):
        assert word in failed.value.detail


def test_what_else_fails(stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last words, or that it took too long."""
    stub.write_text("#!/bin/sh\necho one; echo two; echo 'No such process'; exit 1\n")
    with pytest.raises(CommandFailed, match=r"py-spy failed: two No such process"):
        profiling.record(7, tmp_path / "none.svg", seconds=1)
    stub.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(profiling, "_LONGER", -0.9)
    with pytest.raises(CommandFailed, match="did not end within"):
        profiling.record(7, tmp_path / "none.svg", seconds=1)


def test_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is an extra, which the error names."""
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(CommandFailed, match=r"orders-on-rocketmq\[profile\]"):
        profiling.program()


def test_which_process(tmp_path: Path) -> None:
    """One of the deployment, that runs."""
    DataDir(tmp_path).make()
    configure(tmp_path)
    run = CliRunner().invoke
    unknown = run(main, ["profile", "order-9", "--data-dir", str(tmp_path)])
    assert unknown.exit_code == 1
    assert "There is no process 'order-9'" in unknown.output
    stopped = run(main, ["profile", "order", "--data-dir", str(tmp_path)])
    assert "order does not run" in stopped.output


@pytest.mark.parametrize("seconds", ["0", str(profiling.MOST_SECONDS + 1), "x"])
def test_how_long(seconds: str, tmp_path: Path) -> None:
    """Bounded: it looks at a process that serves."""
    refused = CliRunner().invoke(main, ["profile", "order", "--seconds", seconds, "--data-dir", str(tmp_path)])
    assert refused.exit_code == 2
    assert "--seconds" in refused.output
