"""`./scripts/bench calls`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from lab.bench.sut import Setup, open_sut
from ops import options, terminal
from ops.errors import CommandFailed

_NOT_SOON = 3600.0  # seconds: no sweep gives back what is deducted for orders that do not exist


@click.command("calls")
@click.option(
    "--calls", type=click.IntRange(1, 100_000), default=300, show_default=True, help="Of each kind, in a run."
)
@click.option("--runs", type=click.IntRange(1, 100), default=7, show_default=True, help="In turns.")
@click.option("--real", is_flag=True, help="On RocketMQ, MariaDB and Redis: a stack of its own (`orders stack`).")
@click.option(
    "--stack",
    "stack_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --real: the data directory of a running stack to use; databases and topics are the bench's own.",
)
@options.as_json
def command(calls: int, runs: int, real: bool, stack_dir: Path | None, as_json: bool) -> None:
    """Time order's call of stock for one order over REST and over gRPC, beside a whole order; medians, in turns.

    What gRPC saves a lone order is the difference. docs/decisions/0048-rest-between-services.md tells what was decided.

    \b
    Examples:
      ./scripts/bench calls
      ./scripts/bench calls --real --runs 11
    """
    try:
        from lab.bench import calls as bench  # noqa: PLC0415 - gRPC is an extra
    except ImportError as error:
        raise CommandFailed(f"{error}: gRPC is needed, pip install '.[rocketmq]' brings it.") from error
    out = terminal.console()
    setup = Setup(real=real or stack_dir is not None, stack=stack_dir, settings={"sweep_interval": _NOT_SOON})
    with out.status("starting ...", refresh_per_second=1) as status:
        tell = status.update if out.is_terminal else lambda _: None
        with open_sut(setup, out.print if out.is_terminal else lambda _: None) as sut:
            found = bench.measure(sut, calls, runs, tell)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    order = next(one.median for one in found if one.kind == bench.ORDER)
    rest = next(one.median for one in found if one.kind == bench.REST)
    for one in found:
        spared = f"   spares a lone order {(rest - one.median) / order:6.1%}" if one.kind in bench.INSTEAD else ""
        click.echo(f"{one.kind:28} p50 {one.median:6.2f} ms{spared}")
