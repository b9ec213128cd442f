"""Which real servers a deployment uses, without starting any."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.errors import OrdersError
from halfmessage.errors import HalfMessageError
from ops import real
from ops.errors import CommandFailed
from ops.places import PACKAGES, default_data_dir
from ops.plan import QUIET_PORTS
from ops.stack import Stack, plan
from ops.stack.plan import DEFAULT_PORT_BASE


@pytest.fixture(autouse=True)
def _no_other_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(real.STACK_DIR, raising=False)


def test_a_deployment_has_a_stack_of_its_own(tmp_path: Path) -> None:
    """Beside its data, so that two deployments never share one by accident; it has that to itself."""
    assert real.stack_dir(tmp_path) == tmp_path / "stack"
    assert real.stack_dir(default_data_dir()) == default_data_dir() / "stack"
    assert real.share(tmp_path) == ""


def test_on_another_stack_it_has_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name depends on where its data is, and is one that servers take."""
    monkeypatch.setenv(real.STACK_DIR, str(tmp_path / "common"))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = real.share(tmp_path / "one"), real.share(tmp_path / "other")
    assert real.stack_dir(tmp_path / "one") == tmp_path / "common"
    assert one != other
    assert real.share(tmp_path / "one") == one
    assert one.isidentifier()
    assert one.islower()


@pytest.mark.parametrize(
    ("at_home", "free", "expected"), [(True, True, DEFAULT_PORT_BASE), (True, False, 0), (False, True, 0)]
)
def test_a_new_stack_takes_the_usual_ports_only_at_the_usual_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_home: bool, free: bool, expected: int
) -> None:
    """Elsewhere, or where they are taken, free ones."""
    asked: list[Mapping[str, Any]] = []
    monkeypatch.setattr(Stack, "up", lambda _, **options: asked.append(options))
    monkeypatch.setattr(real, "is_free", lambda _: free)
    real.bring_up(Stack(tmp_path), at_home=at_home)
    assert asked == [{"port_base": expected, "rocketmq": None}]


def test_a_stack_that_was_there_keeps_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its times."""
    stack = Stack(tmp_path)
    stack.layout.make()
    plan.save(stack.layout.plan_file, plan.new_plan(20000))
    asked: list[Mapping[str, Any]] = []
    monkeypatch.setattr(Stack, "up", lambda _, **options: asked.append(options))
    real.bring_up(stack, at_home=False)
    assert asked == [{"rocketmq": None}]


def test_free_ports_are_none_that_the_kernel_gives_away() -> None:
    """A stack that is stopped must find them free again."""
    for _ in range(20):
        ports = plan.new_plan(0).ports.all()
        assert QUIET_PORTS.start <= min(ports) <= max(ports) < 32768


def test_without_the_client_of_rocketmq_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before servers are installed or started, with what to install."""

    def missing() -> None:
        raise OrdersError("pip install '.[rocketmq]'")

    monkeypatch.setattr(real, "require_client", missing)
    with pytest.raises(HalfMessageError, match="rocketmq"):
        real.start(tmp_path, say=print)
    with pytest.raises(HalfMessageError, match="rocketmq"), real.borrowed(tmp_path, private=True, say=print):
        pytest.fail("lent nevertheless")
    assert not list(tmp_path.iterdir())


def test_a_reset_deletes_the_stack_of_its_own_and_no_other(tmp_path: Path) -> None:
    """What is no stack of ours stays; where there is none yet, there is nothing to do."""
    real.reset(tmp_path, "")
    stack = Stack(tmp_path / "stack")
    stack.layout.make()
    plan.save(stack.layout.plan_file, plan.new_plan(20000))
    real.reset(tmp_path, "")
    assert not stack.layout.root.exists()
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "diary").touch()
    with pytest.raises(CommandFailed, match="nothing deleted"):
        real.reset(tmp_path, "")


def test_a_hint_names_the_stack_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    """It works when it is pasted."""
    assert real.hint(default_data_dir().absolute() / "stack", "down").endswith("/scripts/stack down")
    assert real.hint(tmp_path / "a stack", "down").endswith(f"/scripts/stack down --data-dir '{tmp_path}/a stack'")


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("up", ""),
        ("up --real --detach", "[rocketmq]"),
        ("demo --data-dir x --real", "[rocketmq]"),
        ("up --realm", ""),
        ("up --trace", "[trace]"),
        ("up --trace --real", "[rocketmq,trace]"),
        ("calls --runs 3", "[rocketmq]"),
    ],
)
def test_the_scripts_install_what_a_command_needs_besides(words: str, extra: str) -> None:
    """`--real`, `--trace` and `bench calls` ask for extras by a command's words; everything else runs without."""
    script = f". scripts/_env.sh; extra_for {words}"
    done = subprocess.run(["bash", "-c", script, "bash"], cwd=PACKAGES, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == extra
