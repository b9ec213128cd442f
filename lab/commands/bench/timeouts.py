"""`./scripts/bench timeouts`."""

import math
from dataclasses import asdict
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.figures import Figure
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.bench.timeouts import TimeoutsBench
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("timeouts")
@click.option(
    "--orders", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Unpaid ones that fall due."
)
@click.option(
    "--group", type=click.IntRange(1, 1000), default=8, show_default=True, help="Of them in one timeout message."
)
@click.option("--clients", type=click.IntRange(1, 4096), default=8, show_default=True, help="Placing orders meanwhile.")
@click.option("--within", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds until we give up.")
@common
def command(orders: int, group: int, clients: int, within: float, **given: Any) -> None:
    """Have many unpaid orders fall due at once, and see when all are closed and their stock is back.

    Orders are placed meanwhile, and before: so it shows how much longer they take. One run; --runs is for those before.

    \b
    Example:
      ./scripts/bench timeouts --real --orders 100000
    """
    shared = read(given)
    with (
        open_session("timeouts", shared) as session,
        Runner.open() as runner,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = TimeoutsBench(Bench(sut, runner, shared.effort, session.tell), clients, within)
        session.measured.append(normal := bench.normal())
        during, after = bench.fall_due(orders, group)
        session.measured.append(during)
        session.wrong += no_success(session.measured)
        slower = _slower(normal.time("p99"), during.time("p99"))
        session.facts |= {"due": orders, **asdict(after), "p99_times_normal": slower}
        session.lines.append(
            f"{orders:,} orders closed {after.closed_after:.1f} s after they fell due, their stock back after "
            f"{after.back_after:.1f} s; p99 of requests meanwhile: {slower:.1f} times as long as ever"
        )


def _slower(normal: Figure | None, during: Figure | None) -> float:
    """Return how many times as long requests took; nan where none succeeded."""
    return during.median / normal.median if normal and during else math.nan
