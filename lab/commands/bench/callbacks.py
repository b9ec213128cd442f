"""`./scripts/bench callbacks`."""

from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.callbacks import CallbacksBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("callbacks")
@click.option("--rate", type=click.FloatRange(1, 10_000), default=200.0, show_default=True, help="Callbacks a second.")
@click.option("--clients", type=click.IntRange(0, 4096), default=8, show_default=True, help="Placing orders meanwhile.")
@common
def command(rate: float, clients: int, **given: Any) -> None:
    """Call back as the sandbox does for orders that wait for it, while others are placed; see how long each takes.

    Afterwards every order that was called back for must be paid, and the ledgers agree.

    \b
    Example:
      ./scripts/bench callbacks --real --clients 64
    """
    shared = read(given)
    with (
        open_session("callbacks", shared) as session,
        Runner.open() as calling,
        Runner.open() as placing,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = CallbacksBench(Bench(sut, calling, shared.effort, session.tell), placing)
        session.measured.append(bench.paid(rate, clients))
        session.wrong += no_success(session.measured)
