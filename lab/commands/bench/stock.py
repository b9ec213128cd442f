"""`./scripts/bench stock`."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from common import migrations
from common.db import Database
from common.redis_client import RedisClient
from halfmessage.paths import SQLITE, file_url
from lab.bench.stock import Load, Result, clear, compare
from ops import options, terminal
from stock.service.strategies.factory import NAMES

_SWITCH_INTERVAL = 0.0005  # seconds, as the services run: the holder of a lock must not wait long for the interpreter
_SPARE = 4  # connections beside one a thread


@click.command("stock")
@click.option("--database", "url", envvar="ORDERS_BENCH_DATABASE", help="An empty stock database; SQLite unless told.")
@click.option("--redis", "redis_url", envvar="ORDERS_BENCH_REDIS", help="For redis-lock, which is left out without.")
@click.option("--strategy", "chosen", type=click.Choice(NAMES), multiple=True, help="Only this one (repeatable).")
@click.option("--orders", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Orders a run.")
@click.option("--threads", type=click.IntRange(1, 256), default=16, show_default=True, help="At once.")
@click.option("--batch", type=click.IntRange(1, 500), default=1, show_default=True, help="Orders a transaction.")
@click.option("--empty", is_flag=True, help="Delete all stock in the database first: a bench that was killed left it.")
@options.as_json
def command(
    url: str | None,
    redis_url: str | None,
    chosen: Sequence[str],
    orders: int,
    threads: int,
    batch: int,
    empty: bool,
    as_json: bool,
) -> None:
    """Compare the strategies of taking stock: orders a second, times, and whether the ledger is right afterwards.

    \b
    hot      all orders want the same goods
    uniform  two goods of a hundred each
    There is enough for 60 % of the orders. `naive` is there to be seen overselling (not on SQLite, whose writers
    take turns). Exit code 1 if any other strategy's ledger is wrong.

    \b
    Example:
      ./scripts/bench stock --database mysql+pymysql://orders:PASSWORD@127.0.0.1:3306/bench --redis redis://127.0.0.1
    """
    strategies = chosen or [name for name in NAMES if redis_url or name != "redis-lock"]
    loads = [
        Load("hot", goods=1, orders=orders, threads=threads, batch=batch),
        Load("uniform", goods=100, lines=2, orders=orders, threads=threads, batch=batch),
    ]
    redis = RedisClient(redis_url) if redis_url else None
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with _database(url, threads + _SPARE) as database:
        if empty:
            database.transact(clear)
        results = list(compare(database, redis, strategies, loads))
    if as_json:
        click.echo(json.dumps([asdict(result) | {"per_second": result.per_second} for result in results], indent=2))
    else:
        _show(results)
    if any(result.wrong for result in results if result.strategy != "naive"):
        raise click.exceptions.Exit(1)


@contextmanager
def _database(url: str | None, connections: int) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as directory:
        url = url or file_url(SQLITE, Path(directory, "stock.db"))
        migrations.upgrade("stock", url)
        database = Database(url, pool_size=connections)
        try:
            yield database
        finally:
            database.close()


def _show(results: Sequence[Result]) -> None:
    table = Table()
    for heading in ("goods", "strategy", "orders/s", "median ms", "99 % ms", "deducted", "short", "failed", "ledger"):
        table.add_column(heading, justify="left" if heading in {"goods", "strategy", "ledger"} else "right")
    for result in results:
        table.add_row(
            result.load.name,
            result.strategy,
            f"{result.per_second:,.0f}",
            f"{result.median * 1000:.1f}",
            f"{result.slowest_percent * 1000:.1f}",
            *(f"{count:,}" for count in (result.deducted, result.refused, result.failed)),
            _ledger(result.wrong),
        )
    terminal.console().print(table)


def _ledger(wrong: Sequence[str]) -> str:
    if not wrong:
        return "exact"
    return f"wrong: {wrong[0]}" + (f" and {len(wrong) - 1} more" if wrong[1:] else "")
