"""`./scripts/bench baseline`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from lab.bench.baseline import BaselineBench, ratios
from lab.bench.bench import Bench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session


@click.command("baseline")
@click.option(
    "--clients", type=click.IntRange(1, 4096), multiple=True, default=(64,), show_default=True,
    help="At once (repeatable).",
)  # fmt: skip
@common
def command(clients: Sequence[int], **given: Any) -> None:
    """Compare with the same call as ONE naive local transaction: no messages, no second service.

    It runs on the same web server, with the same checks of tokens and bodies, as many processes as order has, and a
    database of the same kind. The runs take turns, and the ratio is quoted run by run, so that a busy machine is
    busy for both.

    \b
    Example:
      ./scripts/bench baseline --real --clients 1 --clients 64
    """
    shared = read(given)
    with (
        open_session("baseline", shared) as session,
        Runner.open() as runner,
        open_sut(shared.setup, session.say) as sut,
    ):
        session.measured += BaselineBench(Bench(sut, runner, shared.effort, session.tell)).measure(clients)
        session.wrong += no_success(session.measured)
        for name, ratio in ratios(session.measured).items():
            session.facts[f"orders / naive, {name}"] = asdict(ratio)
            session.lines.append(
                f"orders / naive, {name}: {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) times as many a second"
            )
