"""Which RocketMQ a stack runs: a version that can be fetched, never older than the one that stored its messages."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lab.bench.servers import RealServers
from ops import options, real, versions
from ops.commands.stack import command
from ops.errors import CommandFailed
from ops.stack import Stack, jars, packages, plan
from ops.stack.layout import Layout
from ops.stack.settings import SERVERS

PROGRAMS = packages.Programs("java", "mariadbd", "mariadb-install-db", "redis-server")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have stacks installed and started in words only; return what they say."""
    monkeypatch.setattr(packages, "ensure", lambda **_: PROGRAMS)
    monkeypatch.setattr(jars, "ensure", lambda version, say: say(f"jars of {version}"))
    monkeypatch.setattr(Stack, "_start", lambda *_: None)
    return []


def test_the_pom_has_the_default_version() -> None:
    """It is written in two places, and they agree."""
    assert f"<rocketmq.version>{versions.DEFAULT}<" in jars.POM.read_text()
    assert versions.DEFAULT in versions.KNOWN


def test_each_version_s_jars_are_kept_apart() -> None:
    """Several stacks of several versions share the cache; what runs are the jars of the plan's version."""
    folders = {jars.folder(version) for version in versions.KNOWN}
    assert len(folders) == len(versions.KNOWN)
    planned = plan.StackPlan(plan.Ports.from_base(20000), rocketmq="5.3.3")
    words = Layout(Path("/nowhere")).program("broker", planned, PROGRAMS).arguments
    assert jars.classpath("5.3.3") in words


@pytest.mark.parametrize("version", ["5.3.0", "5.3.2", "5.5.1", "newest"])
def test_a_version_that_does_not_resolve_is_refused_at_once(tmp_path: Path, version: str) -> None:
    """With those that do, before anything is made or fetched."""
    done = CliRunner().invoke(command, ["up", "--data-dir", str(tmp_path / "s"), "--rocketmq", version])
    assert isinstance(done.exception, CommandFailed)
    assert "5.2.0, 5.3.3, 5.4.0, 5.5.0" in done.exception.detail
    assert not (tmp_path / "s").exists()
    with pytest.raises(CommandFailed, match=r"5\.3\.3"):
        plan.new_plan(20000, version)


def test_a_stack_keeps_the_version_it_has_until_told_a_newer_one(tmp_path: Path, said: list[str]) -> None:
    """An upgrade is said; an older version is refused, with what to do, and nothing changes."""
    stack = Stack(tmp_path, say=said.append)
    stack.up(port_base=20000, rocketmq="5.2.0")
    stack.up()
    assert (stack.plan.rocketmq, said) == ("5.2.0", ["jars of 5.2.0"] * 2)
    stack.up(rocketmq="5.5.0")
    assert (stack.plan.rocketmq, stack.plan.ports.namesrv) == ("5.5.0", 20000)
    assert [line for line in said if line.startswith("Upgrading")] == [
        f"Upgrading {tmp_path} from RocketMQ 5.2.0 to 5.5.0, for good."
    ]
    before = stack.layout.plan_file.read_bytes()
    with pytest.raises(CommandFailed, match=r"5\.5\.0 has stored here what 5\.4\.0 may not read"):
        stack.up(rocketmq="5.4.0")
    assert stack.layout.plan_file.read_bytes() == before


@pytest.mark.parametrize("running", ["broker", "namesrv", "mariadb", "redis"])
def test_an_upgrade_wants_rocketmq_stopped_and_nothing_else(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, running: str
) -> None:
    """MariaDB and Redis may run on; what is to be stopped is said in one line, as it works when pasted."""
    stack = Stack(tmp_path, say=said.append)
    stack.up(port_base=20000, rocketmq="5.2.0")
    monkeypatch.setattr(Stack, "runs", lambda _, names=SERVERS: running in names)
    if running in {"broker", "namesrv"}:
        with pytest.raises(CommandFailed) as refused:
            stack.up(rocketmq="5.4.0")
        assert f"orders stack stop {running} --data-dir {tmp_path}`" in refused.value.detail
        assert "\n" not in refused.value.detail
    else:
        stack.up(rocketmq="5.4.0")
        with pytest.raises(CommandFailed, match="other ports or times"):
            stack.up(port_base=21000)
    assert stack.plan.rocketmq == ("5.2.0" if running in {"broker", "namesrv"} else "5.4.0")


def test_a_stack_from_before_there_was_a_choice_runs_what_it_ran(tmp_path: Path) -> None:
    """Its plan names no version."""
    file = tmp_path / "stack.json"
    plan.save(file, plan.new_plan(20000))
    document = json.loads(file.read_text())
    del document["rocketmq"]
    file.write_text(json.dumps(document))
    found = plan.load(file)
    assert found is not None
    assert found.rocketmq == "5.2.0"


@click.command()
@options.real
@options.rocketmq
def asked(real: bool, rocketmq: str | None) -> None:
    click.echo(f"{real} {rocketmq}")


@pytest.mark.parametrize(
    ("words", "variable", "told"),
    [
        (["--rocketmq", "5.2.0", "--real"], "", "True 5.2.0"),
        (["--real"], "5.4.0", "True 5.4.0"),
        ([], "5.4.0", "False None"),
        (["--real"], "", "True None"),
        (["--rocketmq", "5.2.0"], "", "goes with --real"),
    ],
)
def test_a_version_is_asked_for_by_option_or_variable(words: Sequence[str], variable: str, told: str) -> None:
    """By option only with real servers; the variable says nothing to embedded ones."""
    done = CliRunner().invoke(asked, words, env={"ORDERS_ROCKETMQ": variable})
    assert told in done.output


def test_servers_that_run_another_version_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """The demo starts its own instead, the bench says what runs there."""
    stack = Stack(tmp_path, say=said.append)
    stack.up(port_base=20000, rocketmq="5.2.0")
    with pytest.raises(CommandFailed, match=r"runs RocketMQ 5\.2\.0, not 5\.5\.0"):
        _ = RealServers.open(tmp_path, None, said.append, "5.5.0").__enter__()
    monkeypatch.setenv(real.STACK_DIR, str(tmp_path))
    monkeypatch.setattr(real, "require_client", lambda: None)
    started: list[str | None] = []
    monkeypatch.setattr(real, "bring_up", lambda _, *, rocketmq, **__: started.append(rocketmq))
    monkeypatch.setattr(real.tenant, "servers", lambda stack: stack)
    with real.borrowed(tmp_path / "own", private=False, say=said.append, rocketmq="5.5.0"):
        assert started == ["5.5.0"]
