"""`./scripts/bench`."""

import click

from ops.commands.subcommands import LazyGroup

_BENCHES = {
    "orders": "Place orders: how many a second, and how long each takes.",
    "burst": "Submit orders to be placed soon: how many are taken in, and how many worked off.",
    "flash": "Buy in flash sales: with enough pieces, sold out, and all at once for few.",
    "baseline": "Compare with the same call as one naive local transaction.",
    "reads": "Read: the same request again, one order, a page of orders.",
    "rollback": "Have many cancelled orders released after an outage of stock.",
    "timeouts": "Have many unpaid orders fall due at once.",
    "callbacks": "Call back as a provider does, while orders are placed.",
    "refunds": "Have very many payments come too late, and see when all are sent back.",
    "growth": "Place orders on databases that hold ten times as many, again and again.",
    "connections": "Keep idle connections at the gateway: its memory, and orders beside them.",
    "soak": "Place very many orders while processes are killed with kill -9.",
    "console": "Ask the console for every page among a million orders and messages.",
    "stock": "Compare the strategies of taking stock.",
    "library": "What the library adds to a transaction of one's own.",
    "saga": "Place an order by a saga, and by a transactional message.",
    "calls": "Call stock as order does, over REST and over gRPC, beside a whole order.",
    "startup": "How long a command takes to start, as a ratio to Python itself.",
}


@click.group("bench", cls=LazyGroup, package=__name__, listed=_BENCHES)
def command() -> None:
    """Measure the system, on deployments and databases of their own.

    Each run is followed by a look at the ledger: a wrong one makes the exit code 1, however fast it was.
    docs/performance.md tells what is measured, and how to read it.
    """
