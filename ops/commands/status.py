"""`orders status`."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops import options, terminal
from ops.deployment import Deployment
from ops.errors import CopiedDeployment, NoDeployment
from ops.places import DataDir
from ops.stack.status import StackStatus
from ops.status import Status, look

_COLOURS = {"ready": "green", "starting": "yellow", "restarting": "yellow", "unready": "red", "dead": "red"}
HS256_WARNING = (
    "Warning: it takes tokens of the secret that all services share (HS256), so any of them can act as any user. "
    "End that, once no client has one: orders keys refuse-hs256"
)
_NOT_READY = 1
_NOT_RUNNING = 3  # as the Linux Standard Base says of init scripts


@click.command("status")
@options.data_dir
@options.as_json
@click.pass_context
def command(ctx: click.Context, data_dir: Path, as_json: bool) -> None:
    """Show every process: name, pid, port, state, restarts, since when.

    Of a deployment started --real also its servers. Exit code 0 if all services are ready (which they are only with
    their servers), 1 if one isn't, 3 if none runs.

    \b
    Examples:
      orders status
      orders status --json
    """
    place = DataDir(data_dir.absolute())
    try:
        status = look(Deployment.find(place.root))
    except (NoDeployment, CopiedDeployment):
        status = Status(str(place.root), None, ())
    if as_json:
        document = {"ready": status.ready, "running": status.running, **asdict(status)}
        if status.servers is not None:
            del document["servers"]["urls"]  # they hold a password
        click.echo(json.dumps(document, indent=2))
    else:
        _show(terminal.console(), status, place.hint("up"))
    ctx.exit(0 if status.ready else _NOT_READY if status.running else _NOT_RUNNING)


def _show(out: Console, status: Status, up: str) -> None:
    if not status.running:
        out.print(f"Nothing runs in {status.data_dir}. Start it with: {up}", markup=False, soft_wrap=True)
    else:
        _show_services(out, status)
    if status.servers is not None:
        _show_servers(out, status.servers)
    if status.takes_hs256:
        out.print(HS256_WARNING, markup=False, soft_wrap=True)


def _show_servers(out: Console, servers: StackStatus) -> None:
    if not servers.running:
        out.print(f"Its servers in {servers.data_dir} do not run.", markup=False, soft_wrap=True)
        return
    table = Table(title=escape(f"Servers in {servers.data_dir}"), title_justify="left")
    for heading in ("name", "state", "pid", "port", "since"):
        table.add_column(heading, overflow="fold")
    for server in servers.servers:
        state = f"[{_COLOURS.get(server.state, 'default')}]{server.state}[/]"
        reason = f": {server.reason}" if server.reason else ""
        table.add_row(server.name, state + reason, str(server.pid or "-"), str(server.port), server.since or "-")
    out.print(table)


def _show_services(out: Console, status: Status) -> None:
    table = Table(title=escape(f"{status.data_dir}, supervised by process {status.supervisor}"), title_justify="left")
    for heading in ("name", "state", "pid", "port", "restarts", "since"):
        table.add_column(heading, overflow="fold")
    for service in status.services:
        state = f"[{_COLOURS.get(service.state, 'default')}]{service.state}[/]"
        table.add_row(
            service.name,
            f"{state}: {service.reason}" if service.reason else state,
            str(service.pid or "-"),
            str(service.port),
            str(service.restarts),
            service.since,
        )
    out.print(table)
