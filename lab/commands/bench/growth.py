"""`./scripts/bench growth`."""

from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.growth import GrowthBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("growth")
@click.option(
    "--from", "first", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True,
    help="Orders there are at the first measurement; ten times as many at the next.",
)  # fmt: skip
@click.option(
    "--to", "up_to", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True,
    help="Orders there are at the last; ten million take gigabytes and many minutes.",
)  # fmt: skip
@click.option("--clients", type=click.IntRange(1, 4096), default=64, show_default=True, help="At once.")
@common
def command(first: int, up_to: int, clients: int, **given: Any) -> None:
    """Fill the databases with settled orders, tenfold and tenfold again, and measure at each size.

    Placing orders, listing them, how long a sweep takes, and the memory of each process: all should stay as they are.

    \b
    Example:
      ./scripts/bench growth --real --to 10000000 --runs 1
    """
    shared = read(given)
    with (
        open_session("growth", shared) as session,
        Runner.open() as runner,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = GrowthBench(Bench(sut, runner, shared.effort, session.tell), up_to)
        for measured in bench.measure(first, clients):
            session.measured.append(measured)
        session.wrong += no_success(session.measured)
        session.facts["sweep_seconds"] = {str(number): swept.seconds for number, swept in bench.sweeps.items()}
        session.facts["sweep_orders"] = {str(number): swept.orders for number, swept in bench.sweeps.items()}
        session.lines += [
            f"A sweep at {number:,} orders, {swept.orders:,} of them to be settled: {swept.seconds * 1000:,.0f} ms"
            for number, swept in bench.sweeps.items()
        ]
