"""`orders docker`: what the containers of `docker/` run once."""

import os
from pathlib import Path

import click

from common import registry
from ops import docker, options, tokens
from ops.keys import KeyStore

_YEAR = 365 * 86400.0


@click.group("docker")
def command() -> None:
    """Prepare what `docker compose up` in docker/ needs; the containers run these themselves."""


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


_keys = click.option(
    "--keys",
    "place",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/keys"),
    show_default=True,
    help="The directory of all keys.",
)


@command.command("keys")
@_keys
@click.option(
    "--metrics-token", type=click.Path(dir_okay=False, path_type=Path), help="Where Prometheus reads its token."
)
def keys(place: Path, metrics_token: Path | None) -> None:
    """Make the keys that are missing: of the services that call others, the operator and Prometheus.

    \b
    Example:
      orders docker keys --metrics-token /tokens/prometheus
    """
    store = KeyStore(place)
    store.ensure((*registry.CALLERS, registry.OPERATOR, registry.MONITOR))
    if metrics_token is not None:
        made = tokens.sign(store.private(registry.MONITOR), registry.MONITOR, registry.MONITOR, (), _YEAR)
        metrics_token.write_text(made, encoding="ascii")
        metrics_token.parent.chmod(0o755)  # Prometheus is another user; volumes from before are its owner's alone
    click.echo("The keys are there.")


@command.command("token")
@click.argument("user")
@click.option("--scope", default="admin", show_default=True, help="What it may do: orders, admin, service.")
@click.option(
    "--lifetime", type=float, default=3600.0, show_default=True, callback=options.positive, help="In seconds."
)
@_keys
def token(user: str, scope: str, lifetime: float, place: Path) -> None:
    """Print a bearer token for USER, signed with the operator's key; in production it is an admin's.

    \b
    Example:
      docker compose run --rm keys orders docker token root
    """
    click.echo(
        tokens.sign(KeyStore(place).private(registry.OPERATOR), registry.OPERATOR, user, scope.split(), lifetime)
    )
