"""`./scripts/bench soak`."""

from typing import Any

import click

from lab.bench.bench import Bench
from lab.bench.runner import Runner
from lab.bench.soak import SoakBench
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import open_session


@click.command("soak")
@click.option(
    "--orders", type=click.IntRange(1, 100_000_000), default=100_000, show_default=True, help="That got a 201."
)
@click.option(
    "--kill-every", type=click.FloatRange(0), default=10.0, show_default=True,
    help="Seconds between two kills, on average, counted from when the last victim is back; 0: no kills.",
)  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of who is killed when.")
@click.option("--clients", type=click.IntRange(1, 4096), default=64, show_default=True, help="Placing orders.")
@common
def command(orders: int, kill_every: float, seed: int, clients: int, **given: Any) -> None:
    """Place very many orders while processes are killed with SIGKILL, and see that the ledger is exact.

    Services are killed, and with --real RocketMQ's broker and name server, MariaDB and Redis too; of a --stack that
    ran before, only our services. Rounds of --seconds follow each other until enough orders got a 201. After each its
    orders are looked at, in the end all of them. --runs means nothing here.

    \b
    Example:
      ./scripts/bench soak --real --orders 1000000 --seconds 30
    """
    shared = read(given)
    with (
        open_session("soak", shared) as session,
        Runner.open() as runner,
        open_sut(shared.setup, session.say) as sut,
    ):
        bench = SoakBench(Bench(sut, runner, shared.effort, session.tell), clients, kill_every, seed)
        session.measured.append(bench.measure(orders))
        session.wrong += bench.judge()
        session.facts |= {"placed": len(bench.placed), "kills": dict(bench.kills)}
        kills = ", ".join(f"{name} {number}" for name, number in sorted(bench.kills.items())) or "none"
        session.lines.append(f"{len(bench.placed):,} orders got a 201; killed meanwhile: {kills}")
