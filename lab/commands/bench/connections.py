"""`./scripts/bench connections`."""

from dataclasses import asdict, replace
from typing import Any

import click

from common.registry import GATEWAY
from lab.bench import connections
from lab.bench.sut import open_sut
from lab.commands.bench.options import common, read
from lab.commands.bench.session import open_session
from ops.client import Client


@click.command("connections")
@click.option(
    "--connections", "number", type=click.IntRange(1, connections.MOST), default=5000, show_default=True,
    help="Idle ones, kept open.",
)  # fmt: skip
@common
def command(number: int, **given: Any) -> None:
    """Keep idle connections at the gateway: what Caddy's memory grows by, and how long an order takes meanwhile.

    It takes some seconds beside the start of the deployment; --seconds, --warm-up and --runs mean nothing here.

    \b
    Example:
      ./scripts/bench connections --connections 5000
    """
    shared = read(given)
    setup = replace(shared.setup, gateway=True)
    with open_session("connections", shared) as session, open_sut(setup, session.say) as sut:
        pid = sut.deployment.supervisor.pid(GATEWAY.name)
        ((host, port),) = sut.gateway()
        body = {"items": [{"goods_id": goods_id, "quantity": 1} for goods_id in sut.new_goods(1)]}
        session.tell("opening connections")
        with Client({"order": sut.deployment.plan.urls[GATEWAY.name]}, sut.tokens[0]) as client:
            found = connections.measure(host, port, pid or 0, lambda: client.post("order", "/orders", body), number)
        session.facts |= asdict(found)
        session.lines += found.in_words.splitlines()
