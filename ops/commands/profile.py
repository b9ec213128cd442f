"""`orders profile`."""

from pathlib import Path

import click

from ops import options, profiling
from ops.deployment import Deployment


@click.command("profile")
@options.data_dir
@click.argument("process", metavar="PROCESS")
@click.option(
    "--seconds",
    type=click.IntRange(1, profiling.MOST_SECONDS),
    default=10,
    show_default=True,
    help="For so long it is looked at.",
)
@click.option(
    "--rate",
    type=click.IntRange(1, profiling.MOST_LOOKS),
    default=100,
    show_default=True,
    help="Looks a second.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The SVG file.  [default: PROCESS-profile.svg here]",
)
@click.option("--idle", is_flag=True, help="Threads that wait, too.")
def command(data_dir: Path, process: str, seconds: int, rate: int, output: Path | None, idle: bool) -> None:
    """Show where PROCESS, such as order-2, spends its time: a flame graph, as SVG for any browser.

    It goes on running, and is looked at from outside (py-spy), which costs it a few per cent. That takes root, or
    the right to trace processes of one's own (ptrace_scope).

    \b
    Examples:
      orders profile order
      orders profile order-2 --seconds 30 --output /tmp/order.svg
    """
    file = (output or Path(f"{process}-profile.svg")).absolute()
    pid = profiling.pid_of(Deployment.find(data_dir), process)
    click.echo(f"Looking at {process} (pid {pid}) for {seconds} s ...")
    profiling.record(pid, file, seconds=seconds, rate=rate, idle=idle)
    click.echo(f"Flame graph: {file}")
