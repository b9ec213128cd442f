"""`orders provision`."""

import re

import click

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.remoting import Address
from ops import options
from ops.errors import CommandFailed
from ops.stack import provision
from ops.stack.provision import Supplies
from ops.waiting import wait_for

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what RocketMQ allows in a topic, and short enough for what follows


def _address(_: click.Context, parameter: click.Parameter, value: str) -> Address:
    try:
        return remoting.address(value)
    except ValueError as error:
        raise click.BadParameter("such as namesrv:9876", param=parameter) from error


def _prefix(_: click.Context, parameter: click.Parameter, value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise click.BadParameter("1 to 64 of A-Z, a-z, 0-9, _ and -", param=parameter)
    return value


@click.command("provision")
@click.option(
    "--name-server", required=True, metavar="HOST:PORT", callback=_address, help="A name server of your RocketMQ."
)
@click.option("--prefix", default="", callback=_prefix, help="As in the broker's URL: rocketmq://…?prefix=NAME.")
@click.option("--dry-run", is_flag=True, help="Say what is missing, make nothing.")
@click.option(
    "--within",
    type=float,
    default=30.0,
    show_default=True,
    callback=options.positive,
    help="Seconds that a broker may take to be known to the name server.",
)
def command(name_server: Address, prefix: str, dry_run: bool, within: float) -> None:
    """Make the topics and consumer groups that the services need on a RocketMQ of your own.

    Do it before they start, and again for each new prefix: a consumer whose group does not exist gets nothing from
    RocketMQ 5.5. Topics get their kinds, and each group the topic %RETRY%<group>, without which consumerProgress and
    RocketMQ's dashboard show nothing of it. What is there stays as it is; a topic of another kind is an error.
    `orders up --real` and `orders stack up` do all of this by themselves.

    \b
    Examples:
      orders provision --name-server namesrv:9876 --dry-run
      orders provision --name-server namesrv:9876
      orders provision --name-server namesrv:9876 --prefix shop
    """
    supplies = Supplies.of_deployment(prefix)
    for name, broker in sorted(_masters(name_server, within).items()):
        found = provision.missing(supplies, broker) if dry_run else provision.make(supplies, broker)
        for item in found.in_words:
            click.echo(f"{name}: {'would make' if dry_run else 'made'} {item}")
        if not found.in_words:
            click.echo(f"{name}: nothing is missing.")


def _masters(name_server: Address, within: float) -> dict[str, Address]:
    """Return the brokers; wait for the first one. Raise `BrokerError`, `NotInTime`."""
    found: dict[str, Address] = {}
    why: list[str] = ["no broker is known there"]

    def look() -> bool:
        try:
            found.update(remoting.masters(name_server))
        except BrokerError as error:
            why[0] = error.detail
        return bool(found)

    try:
        wait_for(f"a broker at name server {name_server.host}:{name_server.port}", look, within=within, every=0.25)
    except CommandFailed as error:
        raise CommandFailed(f"{error.detail} {why[0]}") from error
    return found
