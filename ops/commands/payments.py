"""`orders payments`: what providers said of payments, as it came."""

import base64
import codecs
import json
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import Row, select

from console.story import printable
from halfmessage.clock import rfc3339
from ops import options
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.ledgers import opened
from pay.model import payment_events

_MOST_PROVIDERS: Final = 8  # events of one id: each provider has names of its own
_MOST_BYTES: Final = 64 << 10  # of a body, unless all of it is asked for
_TIMES: Final = ("received_at", "handled_at")
_UTF_8: Final = codecs.getincrementaldecoder("utf-8")
_EVENTS: Final = payment_events.c
_TOLD: Final = (
    *(_EVENTS.provider, _EVENTS.event_id, _EVENTS.order_id, _EVENTS.charge_id, _EVENTS.kind, _EVENTS.amount),
    *(_EVENTS.currency, _EVENTS.via, _EVENTS.received_at, _EVENTS.handled_at, _EVENTS.effect, _EVENTS.reason),
)


@click.group("payments")
def command() -> None:
    """Look at what providers said of payments.

    \b
    Example:
      orders payments event 385878797913694209
    """


@command.command("event")
@click.argument("event_id", metavar="EVENT")
@click.option("--provider", help="Only this provider's, where several have an event of that name.")
@click.option("--whole", is_flag=True, help=f"All of the body, not its first {_MOST_BYTES} bytes alone.")
@options.data_dir
@options.as_json
def event(event_id: str, provider: str | None, whole: bool, data_dir: Path, as_json: bool) -> None:
    """Show an event as it came: the bytes of the callback's body, or of the answer that a provider gave.

    EVENT is its id in `events` of GET /payments/{id}. Read from pay's database, whether it runs or not. Headers are not
    kept: a signature is checked before anything is stored. The body may have personal data of the customer, as the
    provider tells it. Bytes that are no UTF-8 are base64 in --json.
    """
    shown = [_document(row, whole=whole) for row in _found(Deployment.find(data_dir), event_id, provider)]
    if not shown:
        raise CommandFailed(f"Pay has no event {event_id}" + (f" of {provider}." if provider else "."))
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for one in shown:
        _show(one)


def _found(deployment: Deployment, event_id: str, provider: str | None) -> list[Row[Any]]:
    if "pay" not in deployment.plan.services:
        raise CommandFailed("This deployment has no pay service.")
    query = select(*_TOLD, _EVENTS.raw).where(_EVENTS.event_id == event_id)
    if provider is not None:
        query = query.where(_EVENTS.provider == provider)
    database = opened("pay", deployment.database_url("pay"))
    try:
        with database.read() as connection:
            return list(connection.execute(query.order_by(_EVENTS.provider).limit(_MOST_PROVIDERS)))
    finally:
        database.close()


def _document(row: Row[Any], *, whole: bool) -> dict[str, Any]:
    told = {column.name: getattr(row, column.name) for column in _TOLD}
    told |= {name: None if told[name] is None else rfc3339(told[name]) for name in _TIMES}
    told["order_id"] = None if told["order_id"] is None else str(told["order_id"])
    raw = row.raw if whole else row.raw[:_MOST_BYTES]
    is_cut = len(raw) < len(row.raw)
    told |= {"bytes": len(row.raw), "cut": is_cut}
    try:
        return told | {"body": _UTF_8().decode(raw, final=not is_cut)}  # half a letter at the cut is left out
    except UnicodeDecodeError:
        return told | {"body_base64": base64.b64encode(raw).decode()}


def _show(told: dict[str, Any]) -> None:
    """Print an event; nothing of what a stranger wrote reaches the terminal as a command to it."""
    for name, value in told.items():
        if value is not None and name not in {"body", "body_base64", "bytes", "cut"}:
            click.echo(f"{name:12} {printable(str(value))}")
    click.echo(f"{'body':12} {told['bytes']} bytes" + (f", of which the first {_MOST_BYTES}:" if told["cut"] else ":"))
    click.echo("\n".join(map(printable, told.get("body", told.get("body_base64", "")).split("\n"))))
