"""`./scripts/bench console`."""

from dataclasses import asdict, replace
from statistics import median
from typing import Any

import click

from lab.bench.console import LIMIT, ConsoleBench
from lab.bench.open_pages import VIEWERS
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import open_session

_KEPT = 7 * 86_400.0  # seconds: keys and ids of calls are as old as the orders, and still there
_MOST_SENT = 200_000  # orders of which messages are sent to real brokers: a tenth of them has one, a minute's work


@click.command("console")
@click.option(
    "--orders", type=click.IntRange(100, 10_000_000), default=1_000_000, show_default=True, help="There are, settled."
)
@click.option(
    "--messages", type=click.IntRange(100, 10_000_000), default=None,
    help=f"Orders that the broker has messages of.  [default: all; on real servers at most {_MOST_SENT:,}]",
)  # fmt: skip
@common
def command(orders: int, messages: int | None, **given: Any) -> None:
    """Ask the console for every page among a million orders and messages: first pages, far cursors, filters, the box.

    Each page --runs times, one at a time, until the whole answer is there. A page whose median takes more than 200 ms,
    or that answers with something else than 200, makes the exit code 1; so do 50 open pages, polled for --seconds, that
    keep more than 0.2 of a core busy. --warm-up means nothing here.

    \b
    Examples:
      ./scripts/bench console --orders 20000
      ./scripts/bench console --real --json console.json
    """
    shared = read(given)
    settings = {"idempotency_retention": _KEPT, **shared.setup.settings}
    setup = replace(shared.setup, console=True, settings=settings)
    if messages is None:
        messages = min(orders, _MOST_SENT) if setup.real else orders
    with open_session("console", shared) as session, open_sut(setup, session.say) as sut:
        bench = ConsoleBench(sut, session.tell, orders, messages)
        timed = bench.measure(bench.fill(), shared.effort.runs)
        opened = bench.leave_open(shared.effort.seconds)
        session.facts["open_pages"] = [asdict(one) for one in opened]
        session.wrong += [one.wrong for one in opened if one.wrong]
        session.facts |= {"orders": orders, "messages": bench.messages, "pages": [one.as_json() for one in timed]}
        session.wrong += [one.wrong for one in timed if one.wrong]
        session.lines.append("Server time of each page, median and range, the slowest first:")
        session.lines += [
            f"{median(one.took):7,.1f} ms, {min(one.took):7,.1f} to {max(one.took):7,.1f}  {one.name}" for one in timed
        ]
        session.lines += [
            f"{VIEWERS} open pages of {one.name}: the console keeps {one.cores['console']:.2f} of a core busy, all "
            f"services {sum(one.cores[name] for name in sut.deployment.plan.processes):.2f}"
            for one in opened
        ]
        session.lines.append(
            f"{len(timed)} pages among {orders:,} orders and {bench.messages:,} messages: the slowest takes "
            f"{median(timed[0].took):,.0f} ms (median of {shared.effort.runs}), at most {LIMIT:g} ms are allowed"
        )
