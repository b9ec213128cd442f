"""`orders gateway`."""

from pathlib import Path

import click

from common.registry import GATEWAY
from ops import gateway, options
from ops.deployment import Deployment
from ops.errors import CommandFailed, NoDeployment
from ops.status import look


@click.group("gateway")
def command() -> None:
    """Have the gateway take a changed configuration."""


@command.command("reload")
@options.data_dir
def reload(data_dir: Path) -> None:
    """Ask the services anew which calls they have, and serve these, without a pause.

    \b
    Example:
      orders gateway reload
    """
    deployment = Deployment.find(data_dir)
    deployment.require_running()
    if deployment.plan.gateway is None:
        raise NoDeployment(f"{deployment.directory.root} runs without a gateway.")
    pid = next(one.pid for one in look(deployment).services if one.name == GATEWAY.name)
    if pid is None:
        raise CommandFailed("The gateway does not run; it is being started again, and reads everything anew then.")
    gateway.reload(deployment.plan, deployment.directory, pid)
    click.echo("The gateway serves what the services have now.")
