"""`orders bench`."""

import click

from ops.commands.bench import baseline, growth, orders, reads, rollback, soak, stock, timeouts


@click.group("bench")
def command() -> None:
    """Measure the system, on deployments and databases of their own.

    Each run is followed by a look at the ledger: a wrong one makes the exit code 1, however fast it was.
    docs/performance.md tells what is measured, and how to read it.
    """


for module in (orders, baseline, reads, rollback, timeouts, growth, soak, stock):
    command.add_command(module.command)
