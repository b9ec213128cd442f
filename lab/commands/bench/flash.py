"""`./scripts/bench flash`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.flash import FlashBench
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session

# What is measured is how fast, not what is refused.
_NO_BOUNDS: Mapping[str, str | float] = {
    "flash_rate_limit": "1000000/second",
    "flash_sale_rate_limit": "1000000/second",
    "buying_queue": 4000,
}
_MOST_PIECES = 9_990_000  # of which 10,000 users may have 999 each


@click.command("flash")
@click.option(
    "--clients", type=click.IntRange(1, 4000), multiple=True, default=(256,), show_default=True,
    help="At once, in the closed loops (repeatable).",
)  # fmt: skip
@click.option(
    "--pieces", type=click.IntRange(1, _MOST_PIECES), default=200_000, show_default=True,
    help="Of a sale that must not be sold out while it is measured.",
)  # fmt: skip
@click.option(
    "--buyers", type=click.IntRange(0, 100_000), default=10_000, show_default=True,
    help="Who come within one second, each once; 0: leave that out.",
)  # fmt: skip
@click.option(
    "--few", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Pieces that there are for them."
)
@click.option("--within", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds to place a run's.")
@common
def command(clients: Sequence[int], pieces: int, buyers: int, few: int, within: float, **given: Any) -> None:
    """Buy in flash sales: answers a second that took a piece, and that refused as sold out; then all at once for few.

    Every answer of 202 must come to one order of the sale, and no sale may have more orders than pieces.

    \b
    Examples:
      ./scripts/bench flash --real --clients 256
      ./scripts/bench flash --seconds 2 --runs 1 --buyers 2000
    """
    shared = read(given)
    setup = replace(shared.setup, settings={**_NO_BOUNDS, **shared.setup.settings})
    with (
        open_session("flash", shared) as session,
        Runner.open() as runner,
        open_sut(setup, session.say) as sut,
    ):
        bench = FlashBench(Bench(sut, runner, shared.effort, session.tell), within)
        for number in clients:
            session.measured += [bench.taken(number, pieces), bench.refused(number)]
        session.facts["worked_off_per_second"] = bench.worked_off
        session.lines.append(f"worked off: {median(bench.worked_off):,.0f} orders a second, the sale itself included")
        session.wrong += no_success(session.measured)
        if buyers:
            session.measured.append(rush := bench.rush(buyers, few))
            longest = rush.time("max")
            session.facts["rush_answered_within"] = longest and longest.high / 1000
            if longest:
                session.lines.append(f"{buyers:,} who came within a second: answered after {longest.high / 1000:.1f} s")
