"""`./scripts/bench startup`."""

import json

import click

from lab.bench.startup import measure
from ops import options, terminal


@click.command("startup")
@click.option("--runs", type=click.IntRange(1, 1000), default=9, show_default=True, help="Starts of each command.")
@options.as_json
def command(runs: int, as_json: bool) -> None:
    """Time how long commands take to start, in turns with `python -c pass`; medians, and the ratio to it.

    \b
    Example:
      ./scripts/bench startup --runs 21
    """
    out = terminal.console()
    with out.status("starting ...", refresh_per_second=1) as status:
        found = measure(runs, status.update if out.is_terminal else lambda _: None)
    if as_json:
        click.echo(json.dumps([{"command": f.command, "seconds": f.seconds, "ratio": f.ratio} for f in found]))
        return
    for one in found:
        click.echo(f"{one.command:20} {one.seconds * 1000:6.0f} ms  {one.ratio:5.1f} x python -c pass")
