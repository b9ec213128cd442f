"""`orders flash`: the flash sales of a deployment."""

import json
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from ops import options, terminal
from ops.client import Client, Refused
from ops.deployment import Deployment
from ops.flash_sales import Rebuilt, SaleLine, opened
from ops.quiet import quiet

F = TypeVar("F", bound=Callable[..., Any])

_CLOSING: float = 30.0  # seconds; flash asks stock meanwhile
_sale: Callable[[F], F] = click.argument("sale_id", metavar="SALE", type=click.IntRange(1, 2**63 - 1))


@click.group("flash")
def command() -> None:
    """Look at flash sales, close them, and tell the store of pieces anew what was sold.

    \b
    Examples:
      orders flash list
      orders flash show 385393506230730752
      orders flash close 385393506230730752
      orders flash rebuild --all
    """
    quiet()


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@options.data_dir
@options.as_json
def list_sales(limit: int, data_dir: Path, as_json: bool) -> None:
    """List the sales, the newest first; whether the services run or not.

    \b
    Examples:
      orders flash list
      orders flash list --limit 1 --json
    """
    with opened(Deployment.find(data_dir)) as sales:
        found = sales.newest(limit)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    table = Table()
    for name in SaleLine.__dataclass_fields__:
        table.add_column(name.removesuffix("_id").replace("_", " "), overflow="fold")
    for one in found:
        table.add_row(*(escape(_told(value)) for value in asdict(one).values()))
    terminal.console().print(table)


@command.command("show")
@_sale
@options.data_dir
@options.as_json
def show(sale_id: int, data_dir: Path, as_json: bool) -> None:
    """Show all that is known of the sale SALE: its row, its purchases by fate, and what the store of pieces counts.

    \b
    Example:
      orders flash show 385393506230730752 --json
    """
    with opened(Deployment.find(data_dir)) as sales:
        found = asdict(sales.get(sale_id))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' ')}: {_told(value)}")


@command.command("close")
@_sale
@options.data_dir
@options.as_json
def close(sale_id: int, data_dir: Path, as_json: bool) -> None:
    """End the sale SALE now: pieces that were not bought go back to stock. Again: the same.

    \b
    Example:
      orders flash close 385393506230730752
    """
    deployment = Deployment.find(data_dir)
    deployment.require_running()
    plan = deployment.plan
    with Client(plan.urls, deployment.token("orders-flash", ["admin"]), timeout=_CLOSING) as client:
        try:
            closed = client.post_to_any(plan.instances_of("flash"), f"/flash-sales/{sale_id}/close")
        except Refused as refusal:
            if refusal.http_status != HTTPStatus.NOT_FOUND:
                raise
            with opened(deployment) as sales:
                raise sales.unknown(sale_id) from refusal
    if as_json:
        click.echo(json.dumps(closed, indent=2))
        return
    click.echo(f"Sale {sale_id} is closed. What its orders do not hold goes back to stock.")


@command.command("rebuild")
@click.argument("sale_id", metavar="[SALE]", type=click.IntRange(1, 2**63 - 1), required=False)
@click.option("--all", "all_of_them", is_flag=True, help="All sales that the store of pieces counts.")
@click.option("--anew", is_flag=True, help="Have the store forget the sale first: its counts are wrong.")
@options.data_dir
@options.as_json
def rebuild(sale_id: int | None, all_of_them: bool, anew: bool, data_dir: Path, as_json: bool) -> None:
    """Tell the store of pieces anew what the rows say of the sale SALE, or of all.

    At any time, while it sells too, and whether the services run or not: nothing that was sold is sold again by it.
    With --anew the sale sells nothing for a moment, and what is bought and no row yet is counted when its order comes;
    until then its pieces are for sale again, and where all are sold the last buyers are refused.

    \b
    Examples:
      orders flash rebuild 385393506230730752
      orders flash rebuild 385393506230730752 --anew
      orders flash rebuild --all --json
    """
    if (sale_id is None) is not all_of_them:
        raise click.UsageError("Name a SALE, or say --all.")
    if anew and all_of_them:
        raise click.UsageError("Name the SALE that is to be counted --anew.")
    with opened(Deployment.find(data_dir)) as sales:
        found = list(sales.rebuild_all()) if sale_id is None else [sales.rebuild(sale_id, anew=anew)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        click.echo(_rebuilt(one))
    if not found:
        click.echo("No sale is open.")


def _rebuilt(one: Rebuilt) -> str:
    wrong = "it knew all of it" if not one.wrong else f"it had {one.wrong} purchases wrong"
    return f"Sale {one.sale_id}: the store of pieces was told anew; {wrong}."


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items()) or "none"
    return "-" if value is None else str(value)
