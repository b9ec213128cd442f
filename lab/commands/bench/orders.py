"""`./scripts/bench orders`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.orders import Coupons, OrdersBench, Through, ladder
from lab.bench.runner import Runner
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import no_success, open_session

_CONNECTIONS = 256  # of an open loop


@click.command("orders")
@click.option(
    "--clients", type=click.IntRange(1, 4096), multiple=True, default=(1, 8, 64, 256), show_default=True,
    help="At once, in the closed loop (repeatable).",
)  # fmt: skip
@click.option(
    "--kinds", type=click.IntRange(1, 100), multiple=True, default=(100, 1), show_default=True,
    help="Out of how many goods each order wants one; 1 is hot (repeatable).",
)  # fmt: skip
@click.option("--loop", type=click.Choice(["closed", "open", "both"]), default="both", show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0.1), multiple=True,
    help="Orders a second, in the open loop (repeatable).  [default: around what the closed loop reached]",
)  # fmt: skip
@click.option("--keys", is_flag=True, help="Give each order an Idempotency-Key.")
@click.option(
    "--coupons", type=click.Choice([each.value for each in Coupons]), default="none", show_default=True,
    help="Give each order a coupon of its user's; both: with and without, in turns.",
)  # fmt: skip
@click.option(
    "--through", type=click.Choice([each.value for each in Through]), default="direct", show_default=True,
    help="Where orders are sent: to the service, to the gateway before it, or to either in turns.",
)  # fmt: skip
@common
def command(
    clients: Sequence[int],
    kinds: Sequence[int],
    loop: str,
    rate: Sequence[float],
    keys: bool,
    coupons: str,
    through: str,
    **given: Any,
) -> None:
    """Place orders: how many a second, and how long each takes.

    \b
    closed loop  each client sends its next order once it has its answer
    open loop    so many a second, whatever the answers do; times count from when an order was to be sent.
                 Rates rise until one is not kept up with: the knee.

    \b
    Examples:
      ./scripts/bench orders --clients 64 --kinds 100 --loop closed --runs 1
      ./scripts/bench orders --stack var/stack --rate 500 --rate 1000 --loop open
      ./scripts/bench orders --real --json bench.json --html bench.html
      ./scripts/bench orders --clients 64 --kinds 100 --loop closed --coupons both
      ./scripts/bench orders --clients 1 --clients 64 --kinds 100 --loop closed --through both
    """
    shared = read(given)
    setup = replace(shared.setup, gateway=Through(through) is not Through.DIRECT)
    if loop == "open" and not rate:
        clients, kinds = clients[-1:], kinds[:1]
    with (
        open_session("orders", shared) as session,
        Runner.open() as runner,
        open_sut(setup, session.say) as sut,
    ):
        bench = OrdersBench(
            Bench(sut, runner, shared.effort, session.tell),
            keys=keys,
            coupons=Coupons(coupons),
            through=Through(through),
        )
        if loop != "open" or not rate:
            session.measured += bench.closed(clients, kinds)
        if loop != "closed":
            session.measured += bench.open(sorted(rate) or ladder(session.measured), _CONNECTIONS)
        session.wrong += no_success(session.measured)
