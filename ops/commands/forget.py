"""`orders forget`."""

from pathlib import Path

import click

from ops import options
from ops.deployment import Deployment


@click.command("forget")
@click.argument("user")
@options.data_dir
def command(user: str, data_dir: Path) -> None:
    """Erase the receivers (name, phone, address) of the orders of USER, told by id. The orders stay.

    Again: nothing is left to erase. Backups keep what they have.

    \b
    Example:
      orders forget 385057592637919232
    """
    with Deployment.find(data_dir).client("orders-forget", ["admin"]) as client:
        erased = client.post("order", "/admin/forget", {"user_id": user})
    click.echo(f"Erased the receivers of {erased['orders']} orders and {erased['order_requests']} order requests.")
