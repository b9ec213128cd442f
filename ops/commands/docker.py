"""`orders docker`: what the containers of `docker/` run once, and what keeps its files in step with the stack's."""

import os
from pathlib import Path

import click

from common import auth
from ops import docker, options
from ops.errors import CommandFailed
from ops.places import PACKAGES

_SHORTEST_SECRET = 32  # as common.config.Settings has it
_YEAR = 365 * 86400.0


@click.group("docker")
def command() -> None:
    """Prepare what `docker compose up` in docker/ needs; the containers run these themselves."""


@command.command("render")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=PACKAGES / "docker",
    show_default="docker in the clone",
    help="Where to write.",
)
def render(into: Path) -> None:
    """Write the configuration files of docker/ from the settings that `orders stack` uses.

    \b
    Example:
      orders docker render
    """
    for path in docker.write(into):
        click.echo(f"Wrote {path}.")


@command.command("migrate")
def migrate() -> None:
    """Migrate the databases that ORDER_DATABASE_URL and its like name, one for each service.

    \b
    Example:
      orders docker migrate
    """
    docker.migrate(os.environ)
    click.echo("The databases are up to date.")


@command.command("gateway")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def gateway(folder: Path) -> None:
    """Write what the gateway's container serves, from what the services say of themselves, into FOLDER.

    \b
    Example:
      orders docker gateway /gateway
    """
    click.echo(f"Wrote {docker.write_gateway(folder)}.")


@command.command("token")
@click.argument("user")
@click.option("--scope", default="orders", show_default=True, help="What it may do: orders, admin, service.")
@click.option("--lifetime", type=float, default=_YEAR, callback=options.positive, help="In seconds.  [default: a year]")
def token(user: str, scope: str, lifetime: float) -> None:
    """Print a bearer token for USER, signed with ORDERS_JWT_SECRET; without --scope enough to read metrics.

    \b
    Examples:
      orders docker token prometheus
      orders docker token root --scope "orders admin" --lifetime 3600
    """
    secret = os.environ.get("ORDERS_JWT_SECRET", "")
    if len(secret) < _SHORTEST_SECRET:
        raise CommandFailed(f"Set ORDERS_JWT_SECRET, to {_SHORTEST_SECRET} characters or more.")
    try:
        click.echo(auth.issue(secret, user, scope.split(), lifetime))
    except ValueError as error:
        raise CommandFailed(f"No token for {user!r}: {error}.") from error
