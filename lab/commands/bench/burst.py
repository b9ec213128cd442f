"""`./scripts/bench burst`."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.burst import BurstBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session

_NO_BOUNDS = {"request_queue": 1_000_000, "request_queue_per_user": 1_000_000}  # what is measured is how fast


@click.command("burst")
@click.option(
    "--clients", type=click.IntRange(1, 4096), multiple=True, default=(256,), show_default=True,
    help="At once, in the closed loop (repeatable).",
)  # fmt: skip
@click.option("--within", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds to work it off.")
@common
def command(clients: Sequence[int], within: float, **given: Any) -> None:
    """Submit orders to be placed soon: how many a second are taken in, and how many are worked off.

    Every answer of 202 must come to one order; there is no warm-up, which would be part of the burst.

    \b
    Example:
      ./scripts/bench burst --real --clients 256
    """
    shared = read(given)
    setup = replace(shared.setup, settings={**_NO_BOUNDS, **shared.setup.settings})
    effort = replace(shared.effort, warm_up=0.0)
    with (
        open_session("burst", shared) as session,
        Runner.open() as runner,
        open_sut(setup, session.say) as sut,
    ):
        bench = BurstBench(Bench(sut, runner, effort, session.tell), within)
        session.measured += [bench.measure(number) for number in clients]
        session.facts["worked_off_per_second"] = bench.worked_off
        session.lines.append(f"worked off: {median(bench.worked_off):,.0f} orders a second, the burst itself included")
        session.wrong += no_success(session.measured)
