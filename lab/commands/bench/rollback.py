"""`./scripts/bench rollback`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.rollback import RollbackBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import open_session

_NO_SWEEP = {"sweep_interval": 86_400.0}  # it would release some of them before a message does


@click.command("rollback")
@click.option(
    "--orders", type=click.IntRange(2, 10_000_000), default=10_000, show_default=True, help="Whose stock is to go back."
)
@click.option(
    "--group", type=click.IntRange(1, 1000), multiple=True, default=(1, 16), show_default=True,
    help="Orders in one message (repeatable).",
)  # fmt: skip
@click.option("--within", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds until we give up.")
@common
def command(orders: int, group: Sequence[int], within: float, **given: Any) -> None:
    """Cancel orders while stock is down, start it, and see how many orders a second it releases.

    The orders are written in bulk, their messages sent like any others. Orders a second are counted by the times that
    stock wrote down, from its first batch to its last (if one batch took all: from when it was started). --seconds and
    --warm-up mean nothing here.

    \b
    Example:
      ./scripts/bench rollback --real --orders 100000 --group 16
    """
    shared = read(given)
    setup = replace(shared.setup, settings={**_NO_SWEEP, **shared.setup.settings})
    with (
        open_session("rollback", shared) as session,
        Runner.open() as runner,
        open_sut(setup, session.say) as sut,
    ):
        bench = RollbackBench(Bench(sut, runner, shared.effort, session.tell), within)
        for size in group:
            session.measured.append(bench.measure(orders, size))
