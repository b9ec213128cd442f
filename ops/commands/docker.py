"""`orders docker`: what the containers of `docker/` run once, and what keeps its files in step with the stack's."""

import os
from pathlib import Path

import click

from common import registry
from ops import docker, options, tokens
from ops.keys import KeyStore
from ops.places import PACKAGES

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
