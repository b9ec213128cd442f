"""`orders migrate`."""

from pathlib import Path

import click

from ops import options
from ops.deployment import Deployment
from ops.errors import NoDeployment


@click.command("migrate")
@options.data_dir
def command(data_dir: Path) -> None:
    """Bring the databases of all services up to date.

    `orders up` does it by itself; this is for doing it beforehand.

    \b
    Example:
      orders migrate --data-dir /srv/orders
    """
    try:
        deployment = Deployment.find(data_dir)
    except NoDeployment:
        deployment = Deployment(data_dir)
    deployment.migrate()
    click.echo(f"The databases in {deployment.directory.root} are up to date.")
