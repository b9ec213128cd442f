"""`orders up --join`: what can't be joined is refused in one line, before anything is started."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops import joining, runstate
from ops.cli import main
from ops.deployment import Deployment
from ops.errors import CommandFailed, NoDeployment
from ops.places import DataDir
from ops.plan import Plan, free_port_base
from ops.runstate import RunLock


def configured(root: Path, **extra: str) -> Deployment:
    """Return a deployment that was started once."""
    DataDir(root).make()
    plan = Plan(free_port_base(), extra=extra, instances={"order": 2})
    runstate.save(DataDir(root).state_file, runstate.RunState(None, plan.as_settings()))
    return Deployment(root, plan)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "main"


@pytest.fixture
def runs(root: Path) -> Iterator[None]:
    """Hold the lock of the deployment, as its supervisor does."""
    DataDir(root).make()
    lock = RunLock(root / "run" / "lock")
    lock.acquire()
    yield
    lock.release()


@pytest.mark.usefixtures("runs")
def test_its_processes_are_those_of_the_other_deployment(root: Path, tmp_path: Path) -> None:
    """The same databases, broker, secret, list and settings; a port, a log and a last known list of its own."""
    main_one = configured(root, rate_limit="7/minute")
    plan = joining.plan_of(root, {"stock": 1, "order": 2}, None)
    assert list(plan.processes) == ["order", "order-2", "stock"]
    part = Deployment(tmp_path / "part", plan)
    joining.take_keys(part.directory, main_one.directory)
    ours, theirs = part._environment("order-2"), main_one._environment("order-2")
    own = {name for name in ours if ours[name] != theirs.get(name)}
    files = {"ORDERS_LOG_FILE", "ORDERS_DISCOVERY_FILE", "ORDERS_USER_KEYS_FILE"}
    assert own - {"ORDERS_CORE"} == {"ORDERS_PORT", *files}
    assert ours["ORDERS_STOCK_URL"] == main_one.plan.urls["stock"]
    assert Plan.from_settings(plan.as_settings()) == plan


@pytest.mark.usefixtures("runs")
def test_what_can_not_be_joined(root: Path, tmp_path: Path) -> None:
    """No process would find it, there is no such service, or it is a part itself."""
    configured(root, discovery="static")
    with pytest.raises(CommandFailed, match="static: no process would find them"):
        joining.plan_of(root, {"order": 1}, None)
    configured(root, participants="stock")
    with pytest.raises(CommandFailed, match="has no coupon"):
        joining.plan_of(root, {"coupon": 1}, None)
    runstate.save(
        DataDir(root).state_file,
        runstate.RunState(None, Plan(instances={"order": 1}, joined=str(tmp_path)).as_settings()),
    )
    with pytest.raises(CommandFailed, match=f"itself part of {tmp_path}"):
        joining.plan_of(root, {"order": 1}, None)


def test_nothing_runs_there(root: Path) -> None:
    """A part without the whole serves no client."""
    configured(root)
    with pytest.raises(NoDeployment, match="Nothing runs"):
        joining.plan_of(root, {"order": 1}, None)


@pytest.mark.usefixtures("runs")
def test_a_directory_of_another_deployment(root: Path, tmp_path: Path) -> None:
    """Its secret is another one; and a part's directory is not started as a deployment of its own."""
    configured(root)
    DataDir(tmp_path / "other").make()
    with pytest.raises(CommandFailed, match="a deployment of its own"):
        joining.take_keys(DataDir(tmp_path / "other"), DataDir(root))
    part = DataDir(tmp_path / "part")
    joining.take_keys(part, DataDir(root))
    joining.take_keys(part, DataDir(root))
    runstate.save(part.state_file, runstate.RunState(None, joining.plan_of(root, {"order": 1}, None).as_settings()))
    done = CliRunner().invoke(main, ["up", "--data-dir", str(part.root)])
    assert done.exit_code == 1
    assert f"is part of the deployment in {root}" in done.output


@pytest.mark.parametrize("word", ["--real", "--reset"])
def test_words_that_do_not_go_together(root: Path, word: str) -> None:
    """Servers and data are those of the deployment that is joined."""
    done = CliRunner().invoke(main, ["up", "--join", str(root), word, "--data-dir", str(root.parent / "part")])
    assert done.exit_code == 1
    assert "--join takes the servers" in done.output
