"""`orders stack`."""

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops import options, terminal
from ops.errors import NoDeployment
from ops.places import default_data_dir
from ops.stack import Stack
from ops.stack.plan import DEFAULT_PORT_BASE
from ops.stack.settings import SERVERS
from ops.stack.status import StackStatus

_COLOURS = {"ready": "green", "starting": "yellow", "unready": "red", "dead": "red"}
_NOT_READY = 1
_NOT_RUNNING = 3  # as the Linux Standard Base says of init scripts
_PORT = click.IntRange(1, 65535)

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: default_data_dir() / "stack",
    envvar="ORDERS_STACK_DIR",
    show_default="var/stack in the clone",
    help="Where the stack keeps everything.  [env: ORDERS_STACK_DIR]",
)
_server = click.argument("name", metavar="NAME", type=click.Choice(SERVERS))


@click.group("stack")
def command() -> None:
    """Run a real RocketMQ, MariaDB and Redis on this machine, without Docker.

    Servers: namesrv (RocketMQ's name server), broker (broker and proxy, one process), mariadb, redis. They run on when
    the command ends, listen on ports of their own, and keep everything in one data directory; several stacks side by
    side need only other data directories and ports.

    \b
    Examples:
      orders stack up
      orders stack status
      orders stack down
    """


@command.command("up")
@_data_dir
@click.option(
    "--port-base",
    type=click.IntRange(0, 65528),
    help=f"First of eight ports in a row; 0 finds free ones.  [default: {DEFAULT_PORT_BASE}, or as before]",
)
@click.option("--namesrv-port", type=_PORT, help="The name server's.")
@click.option("--proxy-port", type=_PORT, help="The proxy's for gRPC clients.")
@click.option("--remoting-port", type=_PORT, help="The proxy's for remoting clients.")
@click.option("--broker-port", type=_PORT, help="The broker's; it takes the one two below, too.")
@click.option("--ha-port", type=_PORT, help="The broker's for its replicas.")
@click.option("--mariadb-port", type=_PORT, help="MariaDB's.")
@click.option("--redis-port", type=_PORT, help="Redis's.")
@click.option(
    "--defaults/--short",
    "defaults",
    default=None,
    help="RocketMQ's own check-back times (first after 6 s, every 30 s, 15 times), or short ones.  "
    "[default: short, or as before]",
)
@options.rocketmq
@click.option("--trace", is_flag=True, help="Also Zipkin, which shows traces.")
def up(
    data_dir: Path,
    port_base: int | None,
    defaults: bool | None,
    rocketmq: str | None,
    trace: bool,
    **ports: int | None,
) -> None:
    """Install what is missing, start what does not run, and return once every server does its work.

    On Debian and Ubuntu. Installing needs root or sudo; only programs are installed, no system service is started.
    RocketMQ's jars are fetched once a user. What is not given stays as it was the last time.

    \b
    Examples:
      orders stack up
      orders stack up --data-dir /tmp/other --port-base 0
      orders stack up --defaults --mariadb-port 13306
      orders stack up --rocketmq 5.2.0
      orders stack up --trace
    """
    out = terminal.console()
    given = {name.removesuffix("_port"): port for name, port in ports.items() if port is not None}
    stack = Stack(data_dir, say=terminal.sayer(out))
    stack.up(port_base=port_base, ports=given, defaults=defaults, rocketmq=rocketmq)
    if trace:
        stack.trace()
    _show(out, stack.status())


@command.command("down")
@_data_dir
def down(data_dir: Path) -> None:
    """Stop every server gracefully; the data stays."""
    stack = Stack(data_dir)
    stack.down()
    click.echo(f"Nothing runs in {stack.layout.root}.")


@command.command("status")
@_data_dir
@options.as_json
@click.pass_context
def status(ctx: click.Context, data_dir: Path, as_json: bool) -> None:
    """Show every server and how to connect; each is asked to do some work.

    Exit code 0 if all are ready, 1 if one isn't, 3 if nothing runs.
    """
    try:
        found = Stack(data_dir).status()
    except NoDeployment:
        found = StackStatus(str(data_dir.absolute()), (), {}, defaults=False)
    if as_json:
        click.echo(json.dumps({"ready": found.ready, "running": found.running, **asdict(found)}, indent=2))
    else:
        _show(terminal.console(), found)
    ctx.exit(0 if found.ready else _NOT_READY if found.running else _NOT_RUNNING)


@command.command("reset")
@_data_dir
def reset(data_dir: Path) -> None:
    """Stop the stack and delete its data directory: all messages, databases and keys in it."""
    stack = Stack(data_dir)
    stack.reset()
    click.echo(f"{stack.layout.root} is gone.")


@command.command("logs")
@_data_dir
@click.argument("name", metavar="[NAME]", type=click.Choice(SERVERS), required=False)
@click.option("--lines", type=click.IntRange(1, 100000), default=20, show_default=True, help="Last lines of each log.")
@click.option("--follow", "-f", is_flag=True, help="Show what is added, until Ctrl-C.")
def logs(data_dir: Path, name: str | None, lines: int, follow: bool) -> None:
    """List the logs of all servers, or show the end of those of NAME."""
    stack = Stack(data_dir)
    if name is None:
        for server in SERVERS:
            for path in stack.logs(server):
                click.echo(f"{server:8} {path.stat().st_size:>12,} bytes  {path}")
        return
    if paths := stack.logs(name):
        words = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *map(str, paths)]
        try:
            subprocess.run(words, check=False)
        except KeyboardInterrupt:
            click.echo()


@command.command("kill")
@_data_dir
@_server
def kill(data_dir: Path, name: str) -> None:
    """End NAME with SIGKILL, as a crash would; `orders stack up` or `start` starts it again."""
    pid = Stack(data_dir).kill(name)
    click.echo(f"{name} did not run." if pid is None else f"{name} (process {pid}) was killed.")


@command.command("stop")
@_data_dir
@_server
def stop(data_dir: Path, name: str) -> None:
    """Stop NAME gracefully."""
    Stack(data_dir).stop(name)
    click.echo(f"{name} is stopped.")


@command.command("start")
@_data_dir
@_server
def start(data_dir: Path, name: str) -> None:
    """Start NAME, if it does not run, and return once it does its work."""
    Stack(data_dir).start(name)
    click.echo(f"{name} is ready.")


@command.command("restart")
@_data_dir
@_server
def restart(data_dir: Path, name: str) -> None:
    """Stop NAME gracefully, start it again, and return once it does its work."""
    Stack(data_dir).restart(name)
    click.echo(f"{name} is ready.")


@command.command(
    "admin", context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def admin(words: tuple[str, ...]) -> None:
    """Run a command of RocketMQ's admin tool; ORDERS_STACK_DIR tells another stack.

    \b
    Example:
      orders stack admin consumerProgress -g stock
    """
    data_dir = Path(os.environ.get("ORDERS_STACK_DIR") or default_data_dir() / "stack")
    if not words or words[0] in {"-h", "--help"}:
        click.echo(click.get_current_context().get_help())
        return
    click.echo(Stack(data_dir).admin().run(*words), nl=False)


def _show(out: Console, found: StackStatus) -> None:
    if not found.servers:
        out.print(f"There is no stack in {found.data_dir}. Start one with: orders stack up", markup=False)
        return
    table = Table(title=escape(found.data_dir), title_justify="left")
    for heading in ("name", "state", "pid", "port", "since"):
        table.add_column(heading, overflow="fold")
    for server in found.servers:
        state = f"[{_COLOURS.get(server.state, 'default')}]{server.state}[/]"
        reason = f": {escape(server.reason)}" if server.reason else ""
        table.add_row(server.name, state + reason, str(server.pid or "-"), str(server.port), server.since or "-")
    out.print(table)
    for name, url in found.urls.items():
        out.print(f"{name}={url}", markup=False, soft_wrap=True)
    times = "RocketMQ's own" if found.defaults else "short ones, for development (--defaults)"
    out.print(f"RocketMQ {found.rocketmq}; times: {times}.", markup=False)
