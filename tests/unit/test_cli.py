"""The command line as a whole: what is listed exists, and a command loads only what it needs."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lab.bench.startup import measure
from lab.cli import main as lab
from lab.commands.bench import command as bench
from ops import runstate
from ops.cli import main
from ops.commands.subcommands import LazyGroup
from ops.places import PACKAGES, DataDir

HEAVY = {"alembic", "flask", "pydantic", "redis", "sqlalchemy", "structlog", "urllib3"}
GROUPS = {"orders": main, "lab": lab, "bench": bench}


def loaded_by(package: str, *words: str) -> set[str]:
    """Return the top-level modules that a command of `ops` or `lab` has imported when it is done."""
    script = (
        f"import sys\nfrom {package}.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=PACKAGES, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_listed_is_a_command_with_help_of_its_own(group: str) -> None:
    """Each name in a list leads to a command of this name; the list's line fits beside it on a terminal."""
    commands = GROUPS[group]
    assert isinstance(commands, LazyGroup)
    for name, line in commands.listed.items():
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert line.endswith(".")
        assert len(line) <= 80
    assert commands.get_command(click.Context(commands), "nothing-of-ours") is None


@pytest.mark.parametrize(
    ("words", "listed"), [("ops --help", "reconcile"), ("lab --help", "drill"), ("lab bench --help", "rollback")]
)
def test_a_list_of_commands_loads_none_of_them(words: str, listed: str) -> None:
    """Help is shown without what the commands need: it took over a second."""
    package, *rest = words.split()
    shown = CliRunner().invoke({"ops": main, "lab": lab}[package], rest)
    assert shown.exit_code == 0
    assert listed in shown.output
    assert not loaded_by(package, *rest) & HEAVY


def test_a_token_loads_no_database_and_no_server(tmp_path: Path) -> None:
    """`orders token`, which scripts call again and again, needs the secret and a signature only."""
    place = DataDir(tmp_path)
    place.make()
    runstate.save(place.state_file, runstate.RunState())
    assert not loaded_by("ops", "token", "alice", "--data-dir", str(tmp_path)) & (HEAVY | {"rich"})


def test_no_token_where_nothing_was_ever_started(tmp_path: Path) -> None:
    """A directory with a secret and no deployment is told so, not signed for."""
    DataDir(tmp_path).make()
    refused = CliRunner().invoke(main, ["token", "alice", "--data-dir", str(tmp_path)])
    assert refused.exit_code == 1
    assert "There is no deployment" in refused.output


def test_starts_are_measured_as_ratios_to_python() -> None:
    """Each command is started, and compared with Python itself in the same run."""
    found = {one.command: one for one in measure(1, lambda _: None)}
    assert found["python -c pass"].ratio == 1
    assert found["orders token alice"].ratio > 1
    told = CliRunner().invoke(lab, ["bench", "startup", "--runs", "1", "--json"])
    assert [one["command"] for one in json.loads(told.output)] == list(found)


def test_starts_of_a_service_are_measured_in_two_ways() -> None:
    """By fork, which shares the memory of what was loaded, and by itself."""
    told = CliRunner().invoke(lab, ["bench", "startup", "--service", "goods", "--runs", "1", "--json"])
    forked, alone = json.loads(told.output)
    assert (forked["way"], alone["way"]) == ("by fork", "by itself")
    assert forked["runs"][0]["memory"] < alone["runs"][0]["memory"]
