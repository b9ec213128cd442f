"""`./scripts/bench library`."""

import json
from dataclasses import asdict

import click

from lab.bench.library import measure
from lab.commands.bench.session import only_warnings
from ops import options, terminal


@click.command("library")
@click.option("--database", "url", envvar="ORDERS_BENCH_DATABASE", help="An empty database; SQLite unless told.")
@click.option("--turns", type=click.IntRange(1, 1000), default=9, show_default=True, help="Turns of each way.")
@click.option("--each", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Rows a turn and way.")
@options.as_json
def command(url: str | None, turns: int, each: int, as_json: bool) -> None:
    """Time what the library adds to a transaction: one row, bare and with a message, by one thread, in turns.

    \b
    INSERT + COMMIT              a session of SQLAlchemy, and nothing else
    with a message, table://     and a row of an outbox in the same transaction
    with a message, embedded://  and a half message before, the record in the same transaction, and the commit after it
    Medians, and the ratio to the bare one of the same turn.

    \b
    Examples:
      ./scripts/bench library
      ./scripts/bench library --database mysql+pymysql://orders:PASSWORD@127.0.0.1:3306/bench
    """
    out = terminal.console()
    with only_warnings(), out.status("writing ...", refresh_per_second=1) as status:
        found = measure(url, turns, each, status.update if out.is_terminal else lambda _: None)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        lowest, highest = min(one.turns), max(one.turns)
        click.echo(f"{one.way:28} {one.seconds * 1000:7.3f} ms  {one.ratio:5.2f} x  ({lowest:.2f} to {highest:.2f})")
