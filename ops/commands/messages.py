"""`orders messages`."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console as Screen
from rich.markup import escape
from rich.table import Table

from common import registry
from halfmessage.clock import rfc3339
from halfmessage.mq.port import Console, MessageView, State
from ops import options, terminal
from ops.broker_console import open_console
from ops.deployment import Deployment
from ops.purchase_keys import purchase_of

_COLUMNS = ("id", "topic", "state", "keys", "tag", "properties", "body", "checks", "deliveries", "times")
_MOST_KEYS = 8  # of a message that are shown in a table

Open = Callable[[], AbstractContextManager[Console]]


@click.group("messages", invoke_without_command=True)
@click.option("--topic", help="Only of this topic, e.g. order_rollback or order_timeout.")
@click.option("--key", metavar="ID", help="Only of this order, order request, or purchase in a flash sale.")
@click.option("--id", "message_id", metavar="ID", help="Only the message with this id.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="How many at most, newest first."
)
@click.option("--admin-tool", is_flag=True, help="On RocketMQ: have its own admin tool look up --key or --id (slow).")
@click.option(
    "--broker",
    metavar="URL",
    help="Instead of a data directory's, this broker's: as ORDERS_BROKER_URL, RocketMQ with namesrv=HOST:PORT.",
)
@options.data_dir
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    topic: str | None,
    key: str | None,
    message_id: str | None,
    state: str | None,
    limit: int,
    admin_tool: bool,
    broker: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Look at the messages of the broker, as a console does; whether the services run or not.

    On RocketMQ (`orders up --real`) a message that its group was given counts as done: RocketMQ does not tell whether
    it was acknowledged, and gives it again if not. Delayed messages are found by --key or --id there.

    With --broker those of any broker, docker/'s and a RocketMQ of your own too; its URL names the name server, and the
    prefix if there is one. What an order of a flash sale has is found by the key of its purchase then.

    \b
    Examples:
      orders messages --state half
      orders messages --key 382342607990161408 --json
      orders messages resend 0000000000000042
      orders messages backlog
      orders messages --broker 'rocketmq://broker:8081?namesrv=namesrv:9876' backlog
    """
    if broker is not None and ctx.get_parameter_source("data_dir") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--broker and --data-dir: name one of the two.")
    ctx.obj = _opener(data_dir, broker)
    if ctx.invoked_subcommand is not None:
        return
    if admin_tool and key is None and message_id is None:
        raise click.UsageError("--admin-tool looks up a --key or an --id.")
    if admin_tool and broker is not None:
        raise click.UsageError("--admin-tool is of a data directory on `orders stack`, and not of a --broker.")
    wanted = State(state) if state is not None else None
    waiting = Screen(stderr=True).status("Asking RocketMQ's admin tool, several topics at once ...")
    deployment = None if broker is not None else Deployment.find(data_dir)
    opened = ctx.obj() if deployment is None else deployment.open_console(admin_tool=admin_tool)
    with opened as console:
        with waiting if admin_tool else nullcontext():
            found = console.find(topic=topic, key=key, message_id=message_id, state=wanted, limit=limit)
            purchase = None if key is None or deployment is None else purchase_of(deployment, key)
            if purchase is not None and topic in {None, registry.PURCHASE_TOPIC} and len(found) < limit:
                topic, key, limit = registry.PURCHASE_TOPIC, purchase, limit - len(found)
                found += console.find(topic=topic, key=key, message_id=message_id, state=wanted, limit=limit)
        if as_json:
            click.echo(json.dumps([as_document(view) for view in found], indent=2))
        else:
            _show(terminal.console(), found, console, limit)


@command.command("backlog")
@options.as_json
@click.pass_obj
def backlog(open_it: Open, as_json: bool) -> None:
    """Show what each consumer group has before it: waiting, in flight (or put off), and for how long.

    On RocketMQ what was handed out less than some seconds ago may be left out: it tells that later.

    \b
    Examples:
      orders messages backlog
      orders messages backlog --json
    """
    with open_it() as console:
        found = console.backlog()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    table = Table()
    for heading in ("group", "topic", "waiting", "in flight", "oldest"):
        table.add_column(heading, overflow="fold")
    for one in found:
        oldest = f"{one.oldest_age:.1f} s" if one.waiting or one.in_flight else "-"
        table.add_row(one.group, one.topic, str(one.waiting), str(one.in_flight), oldest)
    terminal.console().print(table)


@command.command("resend")
@click.argument("message_id", metavar="ID")
@click.pass_obj
def resend(open_it: Open, message_id: str) -> None:
    """Give the dead message ID to its consumers again, its deliveries counted anew."""
    with open_it() as console:
        console.resend(message_id)
    click.echo(f"Message {message_id} is delivered again.")


@command.command("resume")
@click.argument("message_id", metavar="ID")
@click.pass_obj
def resume(open_it: Open, message_id: str) -> None:
    """Have the parked half message ID checked back again, its checks counted anew."""
    with open_it() as console:
        console.resume(message_id)
    click.echo(f"Half message {message_id} is checked again.")


@command.command("forget")
@click.argument("group", metavar="GROUP")
@click.pass_obj
def forget(open_it: Open, group: str) -> None:
    """Forget the consumer group GROUP that is gone for good: the embedded broker keeps every message it is due.

    Stop its consumers first. One that subscribes again starts from the oldest message that is still kept.
    """
    if group in registry.NAMES:
        raise click.UsageError(f"{group} is a service of ours: it comes back, and must miss nothing.")
    with open_it() as console:
        console.forget(group)
    click.echo(f"Group {group} is forgotten.")


def _opener(data_dir: Path, broker: str | None) -> Open:
    if broker is not None:
        return partial(open_console, broker)
    return lambda: Deployment.find(data_dir).open_console()  # not before it is asked for: --help finds none


def as_document(view: MessageView) -> dict[str, Any]:
    """Return a message for programs; times are RFC 3339, a body that is no JSON is text."""
    document = {**asdict(view.message), **asdict(view)}
    del document["message"]
    document["keys"] = list(view.message.keys)
    document["properties"] = dict(view.message.properties)
    document["body"] = _body(view.message.body)
    for name in ("born_at", "deliver_at", "resolved_at", "next_check_at"):
        document[name] = _time(document[name])
    document["checks"] = [{"at": rfc3339(check.at), "answer": check.answer, "pid": check.pid} for check in view.checks]
    document["groups"] = [
        {**asdict(group), "visible_at": rfc3339(group.visible_at), "done_at": _time(group.done_at)}
        for group in view.groups
    ]
    return document


def _body(body: bytes) -> Any:
    text = body.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _show(out: Screen, found: list[MessageView], console: Console, limit: int) -> None:
    table = Table(show_lines=True)
    for heading in _COLUMNS:
        table.add_column(heading, overflow="fold")
    for view in found:
        table.add_row(*(escape(cell) for cell in _row(view)))
    if found:
        out.print(table)
    stats = console.stats()
    more = f" (the newest {limit}; more with --limit)" if len(found) == limit else ""
    out.print(f"{len(found)} shown{more}. In all: {stats.half} half, {stats.parked} parked, {stats.dead} dead.")


def _row(view: MessageView) -> tuple[str, ...]:
    message = view.message
    answers = [f"{_clock(check.at)} {check.answer or 'no process to answer'}" for check in view.checks]
    times = {"born": view.born_at, "due": view.deliver_at, view.resolution or "resolved": view.resolved_at}
    return (
        view.message_id,
        message.topic,
        view.state,
        _keys(message.keys),
        message.tag or "-",
        "\n".join(f"{name}={value}" for name, value in message.properties.items()),
        message.body.decode("utf-8", errors="replace"),
        "\n".join([str(view.check_count), *answers]),
        "\n".join(f"{g.group}: {g.attempts}, {g.state}" for g in view.groups) or "-",
        "\n".join(f"{name} {_clock(ms)}" for name, ms in times.items() if ms is not None),
    )


def _keys(keys: Sequence[str]) -> str:
    """Return the keys of a message, one a line: a purchase's has up to 256."""
    more = len(keys) - _MOST_KEYS
    return "\n".join([*keys[:_MOST_KEYS], *([f"and {more} more"] if more > 0 else [])])


def _clock(ms: int) -> str:
    return rfc3339(ms)[11:]
