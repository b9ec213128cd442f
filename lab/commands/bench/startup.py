"""`./scripts/bench startup`."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from common.registry import NAMES
from lab.bench import service_start, startup
from ops import options, terminal


@click.command("startup")
@click.option("--runs", type=click.IntRange(1, 1000), default=9, show_default=True, help="Starts of each.")
@click.option(
    "--service",
    "services",
    type=click.Choice(NAMES),
    multiple=True,
    help="Time this service of a deployment instead, until it is ready; may be repeated.",
)
@options.as_json
def command(runs: int, services: Sequence[str], as_json: bool) -> None:
    """Time how long commands take to start, in turns with `python -c pass`; medians, and the ratio to it.

    Or services: started by fork, as `orders up` does it, and by themselves, in turns.

    \b
    Examples:
      ./scripts/bench startup --runs 21
      ./scripts/bench startup --service order --service stock
    """
    out = terminal.console()
    with out.status("starting ...", refresh_per_second=1) as status:
        tell = status.update if out.is_terminal else lambda _: None
        if services:
            starts = service_start.measure(services, runs, tell)
            _tell_starts(starts, as_json=as_json)
            return
        found = startup.measure(runs, tell)
    if as_json:
        click.echo(json.dumps([{"command": f.command, "seconds": f.seconds, "ratio": f.ratio} for f in found]))
        return
    for one in found:
        click.echo(f"{one.command:20} {one.seconds * 1000:6.0f} ms  {one.ratio:5.1f} x python -c pass")


def _tell_starts(found: Sequence[service_start.Starts], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        seconds, processor, memory = (one.median(member) for member in ("seconds", "processor", "memory"))
        click.echo(
            f"{one.service:8} {one.way:10} ready after {seconds * 1000:5.0f} ms, processor {processor * 1000:5.0f} ms, "
            f"memory {memory / 2**20:4.0f} MB {'PSS' if all(run.is_pss for run in one.runs) else 'RSS'}"
        )
