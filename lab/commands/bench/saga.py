"""`./scripts/bench saga`."""

import json
from dataclasses import asdict

import click

from lab.bench.saga import measure
from lab.commands.bench.session import only_warnings
from ops import options, terminal


@click.command("saga")
@click.option("--database", "url", envvar="ORDERS_BENCH_DATABASE", help="An empty database; SQLite unless told.")
@click.option("--turns", type=click.IntRange(1, 1000), default=5, show_default=True, help="Turns of each way.")
@click.option(
    "--seconds", type=click.FloatRange(0.01, 3600), default=3.0, show_default=True, help="Of each turn and way."
)
@click.option(
    "--clients", type=click.IntRange(1, 64), default=1, show_default=True,
    help="At once. SQLite has one writer: with several, name a --database.",
)  # fmt: skip
@options.as_json
def command(url: str | None, turns: int, seconds: float, clients: int, as_json: bool) -> None:
    """Place an order by a saga of three steps, and by a transactional message, in turns: examples/order_two_ways.

    \b
    transactional message   half message, the order written and committed; two consumers take the piece and the coupon
    saga of three steps     take the piece, take the coupon, write the order; with a log, and a barrier of each step
    How many a second counts until all of it is done; times, until the caller knows that the order stands. Medians, and
    the ratio to the message of the same turn. The broker is embedded; clients and consumers share one process. Exit
    code 1 if orders, pieces and uses of the coupon disagree after a turn.

    \b
    Examples:
      ./scripts/bench saga
      ./scripts/bench saga --clients 8 --database mysql+pymysql://orders:PASSWORD@127.0.0.1:3306/bench
    """
    out = terminal.console()
    with only_warnings(), out.status("placing ...", refresh_per_second=1) as status:
        found = measure(url, turns, seconds, clients, status.update if out.is_terminal else lambda _: None)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        rates = [turn.per_second for turn in one.turns]
        click.echo(
            f"{one.way:22} {one.median.per_second:7.1f}/s {one.ratio.per_second:5.2f} x ({min(rates):.1f} to "
            f"{max(rates):.1f})   p50 {one.median.p50:7.2f} ms {one.ratio.p50:5.2f} x   "
            f"p99 {one.median.p99:7.2f} ms {one.ratio.p99:5.2f} x"
        )
