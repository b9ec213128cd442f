"""Which real servers a deployment uses: its own stack, in its data directory, or its share of another one."""

import hashlib
import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from halfmessage.mq.factory import open_broker, split_prefix
from halfmessage.mq.port import BrokerOptions
from ops import runstate
from ops.errors import CopiedDeployment
from ops.places import PACKAGES, DataDir, default_data_dir
from ops.plan import Plan, Servers
from ops.runstate import RunState
from ops.stack import Stack, tenant
from ops.stack.layout import Layout
from ops.stack.plan import DEFAULT_PORT_BASE, Ports, is_free

STACK_DIR = "ORDERS_STACK_DIR"
_ANY = 0  # as `orders stack up --port-base` takes it: free ports


def stack_dir(data_dir: Path) -> Path:
    """Return where the stack of a deployment is: beside its data, unless ORDERS_STACK_DIR names another."""
    named = os.environ.get(STACK_DIR)
    return (Path(named) if named else data_dir / "stack").absolute()


def share(data_dir: Path) -> str:
    """Return the name that a deployment has on its stack: none on its own, else the one that it had, or a new one.

    Its directory exists, and keeps its name when it is moved, by whatever path it is found; a copy has one of its own.
    """
    data_dir = data_dir.absolute()
    if stack_dir(data_dir) == data_dir / "stack":
        return ""
    state = runstate.load(DataDir(data_dir).state_file)
    servers = Plan.from_settings(state.settings).servers if state is not None and state.is_of(data_dir) else None
    if servers is not None and Path(servers.stack) == stack_dir(data_dir):
        had = split_prefix(servers.broker_url)[1]
        if had:
            return had
    which = os.fsencode(data_dir) + f":{data_dir.stat().st_ino}".encode()
    return "d" + hashlib.sha256(which).hexdigest()[:10]


def servers_here(root: Path, state: RunState, known: Servers) -> Servers:
    """Return the servers of a deployment whose state file tells of `known`, where they are now.

    Its own stack is beside its data: it was moved, or copied, with it. Raise `CopiedDeployment` where a copy tells of
    the original's share of another stack.
    """
    if not known.stack or state.home is None or (state.is_of(root) and state.home.path == str(root)):
        return known
    stack, before = Path(known.stack), Path(state.home.path)
    if stack.is_relative_to(before):
        here = root / stack.relative_to(before)
        return tenant.servers(Stack(here)) if Layout(here).plan_file.is_file() else replace(known, stack=str(here))
    if not state.is_of(root):
        raise CopiedDeployment(
            f"{root} is a copy of {before}, whose data is on the servers in {stack}: give it data of its own with: "
            f"{DataDir(root).hint('up --real')}"
        )
    return known


def start(data_dir: Path, *, say: Callable[[str], None], rocketmq: str | None = None) -> Servers:
    """Start what does not run of a deployment's servers, and return them. Raise `OrdersError`.

    `rocketmq` is a version of `ops.versions.KNOWN`; unless told it stays as it was.
    """
    require_client()
    stack = Stack(stack_dir(data_dir), say=say)
    at_home = stack.layout.root == default_data_dir().absolute() / "stack"
    bring_up(stack, at_home=at_home, rocketmq=rocketmq)
    DataDir(data_dir.absolute()).make()
    return tenant.servers(stack, share(data_dir))


def reset(data_dir: Path, name: str) -> None:
    """Delete what a deployment has on its servers: its own stack, or the share `name`. Raise `OrdersError`."""
    stack = Stack(stack_dir(data_dir), say=lambda _: None)
    if not name:
        stack.reset()
    elif stack.layout.plan_file.is_file():
        stack.up()
        tenant.drop(stack, name)


@contextmanager
def borrowed(
    data_dir: Path, *, private: bool, say: Callable[[str], None], rocketmq: str | None = None
) -> Iterator[Servers]:
    """Lend servers for a while: a share of the usual stack if it runs, else (or `private`) a stack in `data_dir`.

    One that runs another `rocketmq` than the version asked for is left alone.

    The share is deleted afterwards, the private stack is stopped. Raise `OrdersError`.
    """
    require_client()
    usual = Stack(stack_dir(default_data_dir()), say=say)
    if not private and _is_at_hand(usual, rocketmq):
        name = f"demo_{secrets.token_hex(4)}"
        try:
            yield tenant.servers(usual, name)
        finally:
            tenant.drop(usual, name)
        return
    own = Stack(data_dir / "stack", say=say)
    try:
        bring_up(own, at_home=False, rocketmq=rocketmq)
        yield tenant.servers(own)
    finally:
        say("Stopping the servers ...")
        own.down()


def bring_up(stack: Stack, *, at_home: bool, rocketmq: str | None = None) -> None:
    """Start a stack, on the ports that it had; a new one on free ports, at the usual place on the usual ones if free.

    Raise `CommandFailed`, `NotInTime`.
    """
    if stack.layout.plan_file.is_file():
        stack.up(rocketmq=rocketmq)
        return
    usual = at_home and all(map(is_free, Ports.from_base(DEFAULT_PORT_BASE).all()))
    stack.up(port_base=DEFAULT_PORT_BASE if usual else _ANY, rocketmq=rocketmq)


def require_client() -> None:
    """Raise `OrdersError`, which says how to install it, unless the client of RocketMQ is there."""
    open_broker("rocketmq://127.0.0.1:1", BrokerOptions()).close()  # connects with the first producer only


def hint(stack: Path, command: str) -> str:
    """Return how to run a command of `orders stack` in a stack's directory, as it works when pasted."""
    script = PACKAGES / "scripts" / "stack"
    near = script.is_relative_to(here := Path.cwd())
    words = [f"./{script.relative_to(here)}" if near else str(script)] if script.is_file() else ["orders", "stack"]
    words.append(command)
    if stack != default_data_dir().absolute() / "stack":
        words += ["--data-dir", str(stack)]
    return shlex.join(words)


def _is_at_hand(stack: Stack, rocketmq: str | None) -> bool:
    """Whether a stack of that version runs, with short times: RocketMQ's own take minutes to tell a story."""
    if not stack.layout.plan_file.is_file() or stack.plan.defaults or rocketmq not in {None, stack.plan.rocketmq}:
        return False
    return stack.status().ready
