"""`./scripts/bench refunds`."""

from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.callbacks import CallbacksBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("refunds")
@click.option("--orders", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Paid too late.")
@click.option("--rate", type=click.FloatRange(1, 10_000), default=500.0, show_default=True, help="Callbacks a second.")
@click.option("--within", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds until we give up.")
@common
def command(orders: int, rate: float, within: float, **given: Any) -> None:
    """Call back for orders that are closed, and see when all of their money was sent back.

    Counted from the first callback until the sandbox's books and pay's both say so. --seconds and --warm-up mean
    nothing here.

    \b
    Example:
      ./scripts/bench refunds --real --orders 10000
    """
    shared = read(given)
    with (
        open_session("refunds", shared) as session,
        Runner.open() as calling,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = CallbacksBench(Bench(sut, calling, shared.effort, session.tell), calling)
        measured, took = bench.late(orders, rate, within)
        session.measured.append(measured)
        session.wrong += no_success(session.measured)
        session.facts |= {"late": orders, "refunded_after": took}
        session.lines.append(f"{orders:,} late payments were sent back {took:.1f} s after the first callback")
