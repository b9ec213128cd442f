"""`./scripts/bench reads`."""

from collections.abc import Sequence
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.reads import ReadsBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("reads")
@click.option(
    "--clients", type=click.IntRange(1, 4096), multiple=True, default=(64,), show_default=True,
    help="At once (repeatable).",
)  # fmt: skip
@click.option(
    "--filling", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds of placing what is read."
)
@common
def command(clients: Sequence[int], filling: float, **given: Any) -> None:
    """Read: the same request with the same Idempotency-Key again, one order, a page of orders.

    \b
    Example:
      ./scripts/bench reads --clients 8 --clients 64 --runs 1
    """
    shared = read(given)
    with (
        open_session("reads", shared) as session,
        Runner.open() as runner,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = ReadsBench(Bench(sut, runner, shared.effort, session.tell), filling)
        session.measured += bench.measure(clients)
        session.wrong += no_success(session.measured)
