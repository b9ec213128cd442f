"""`orders token`."""

from pathlib import Path

import click

from ops import options, tokens
from ops.places import DataDir


@click.command("token")
@click.argument("user")
@click.option("--scope", default="orders", show_default=True, help="What it may do: orders, admin, service.")
@click.option(
    "--lifetime", type=float, default=86400.0, show_default=True, callback=options.positive, help="In seconds."
)
@options.data_dir
def command(user: str, scope: str, lifetime: float, data_dir: Path) -> None:
    """Print a bearer token for USER.

    \b
    Examples:
      export TOKEN=$(orders token alice)
      orders token root --scope "orders admin" --lifetime 600
    """
    scopes = scope.split()
    if not scopes:
        raise click.BadParameter("at least one of orders, admin, service", param_hint="--scope")
    place = DataDir(data_dir.absolute())
    place.state()  # no token for a deployment that was never started
    click.echo(tokens.issue(place, user, scopes, lifetime))
