"""`flask tx`: tables, consumers, and what an operator needs."""

import signal
import threading
from collections.abc import Callable, Iterable

import click
from flask import current_app
from flask.cli import AppGroup

from halfmessage.contrib import migrations
from halfmessage.errors import HalfMessageError
from halfmessage.mq.port import State
from halfmessage.transactional import TransactionalMessages

_MOST = 1000
"""Messages that `--all` sends on at once."""

group = AppGroup("tx", help="Transactional messages of this app.")


def _tx() -> TransactionalMessages:
    found: TransactionalMessages = current_app.extensions["halfmessage"]
    return found


@group.command()
def migrate() -> None:
    """Make the library's tables in the app's database, or bring them up to date."""
    try:
        revision = migrations.upgrade(_tx().engine)
    except HalfMessageError as error:
        raise click.ClickException(error.detail) from error
    click.echo(f"The tables are at revision {revision}.")


@group.command()
def work() -> None:
    """Consume, answer check-backs and purge, until SIGTERM or Ctrl-C. Start as many as you like."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with _tx() as tx:
        tx.start()
        click.echo(f"Consuming: {', '.join(each.group for each in tx.subscriptions) or 'nothing'}.")
        ended.wait()


@group.command()
def status() -> None:
    """Say what is on its way; end with 1 where something lies still until it is resumed or resent."""
    with _tx() as tx:
        found = tx.status()
    stats = found.stats
    click.echo(f"half {stats.half} (oldest {stats.oldest_half_age:.0f} s), parked {stats.parked}, dead {stats.dead}")
    for each in found.backlog:
        age = f"oldest {each.oldest_age:.0f} s"
        click.echo(f"{each.topic} -> {each.group}: waiting {each.waiting}, in flight {each.in_flight} ({age})")
    if found.needs_attention:
        raise SystemExit(1)


@group.command()
@click.argument("message_id", required=False)
@click.option("--all", "all_", is_flag=True, help=f"Every one, up to {_MOST}.")
def resume(message_id: str | None, *, all_: bool) -> None:
    """Have a parked half message checked again: one that the broker gave up asking about."""
    with _tx() as tx:
        _send_on(tx.console().resume, _wanted(tx, State.PARKED, message_id, all_=all_), "resumed")


@group.command()
@click.argument("message_id", required=False)
@click.option("--all", "all_", is_flag=True, help=f"Every one, up to {_MOST}.")
def resend(message_id: str | None, *, all_: bool) -> None:
    """Give a dead message to its group again: one that could not be handled in so many tries."""
    with _tx() as tx:
        _send_on(tx.console().resend, _wanted(tx, State.DEAD, message_id, all_=all_), "resent")


@group.command()
def sweep() -> None:
    """Delete now what is older than it has to be kept."""
    with _tx() as tx:
        click.echo(f"{tx.sweep()} rows deleted.")


def _wanted(tx: TransactionalMessages, state: State, message_id: str | None, *, all_: bool) -> list[str]:
    if (message_id is None) != all_:
        raise click.UsageError("Name a message, or say --all.")
    if message_id is not None:
        return [message_id]
    return [view.message_id for view in tx.console().find(state=state, limit=_MOST)]


def _send_on(how: Callable[[str], None], message_ids: Iterable[str], done: str) -> None:
    for message_id in message_ids:
        try:
            how(message_id)
        except HalfMessageError as error:
            raise click.ClickException(f"{message_id}: {error.detail}") from error
        click.echo(f"{message_id} {done}")
