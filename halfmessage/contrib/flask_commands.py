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
from halfmessage.saga.model import Run
from halfmessage.saga.operating import Sagas
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
        if sagas := sorted({saga.name for saga in tx.saga_engine.sagas.values()}):
            click.echo(f"Driving: {', '.join(sagas)}.")
        ended.wait()


@group.command()
def status() -> None:
    """Say what is on its way; end with 1 where something lies still until it is resumed or resent."""
    with _tx() as tx:
        found = tx.status()
    stats = found.stats
    click.echo(f"half {stats.half} (oldest {stats.oldest_half_age:.0f} s), parked {stats.parked}, dead {stats.dead}")
    click.echo(f"sagas: open {found.sagas.open}, in trouble {found.sagas.troubled}")
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


@group.command()
def sagas() -> None:
    """List the runs of sagas that have not ended, newest first, with what holds each up."""
    with _tx() as tx:
        for run in tx.sagas.list():
            click.echo(_told(run, is_known=tx.sagas.is_known(run)))


@group.command()
@click.argument("run_id", type=int)
def retry(run_id: int) -> None:
    """Have the next try of a run now."""
    _change(lambda found: found.retry(run_id))


@group.command("give-up")
@click.argument("run_id", type=int)
@click.option("--why", required=True)
def give_up(run_id: int, why: str) -> None:
    """Turn a run back, so that it is undone; one that can't turn back, or is being undone, ends as it is."""
    _change(lambda found: found.give_up(run_id, why))


@group.command()
@click.argument("run_id", type=int)
@click.argument("step")
@click.option("--why", required=True)
def skip(run_id: int, step: str, why: str) -> None:
    """Go on as if a step of a run were done, or undone: somebody saw to it by hand."""
    _change(lambda found: found.skip(run_id, step, why))


def _change(change: Callable[[Sagas], Run]) -> None:
    with _tx() as tx:
        try:
            run = change(tx.sagas)
        except HalfMessageError as error:
            raise click.ClickException(error.detail) from error
        click.echo(_told(run, is_known=True))


def _told(run: Run, *, is_known: bool) -> str:
    steps = ", ".join(
        f"{name} {step.state}" + (f" ({step.tries} failed: {step.error})" if step.error else "")
        for name, step in run.steps.items()
    )
    known = "" if is_known else "; its definition is not declared here: declare it as well, behind the new one"
    return f"{run.run_id} {run.saga} {run.key}: {run.state}{known}; {steps}"


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
