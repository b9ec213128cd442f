"""The command line `orders`. Each command is a module of `ops.commands`, imported when it is asked for."""

import click

from ops.commands.subcommands import CommandLine

_COMMANDS = {
    "demo": "Show the whole story on data of its own, with a kill -9 in the middle.",
    "up": "Start all services, and keep them running.",
    "down": "Stop all services gracefully.",
    "status": "Show every process: name, pid, port, state, restarts, since when.",
    "token": "Print a bearer token for USER.",  # nosec B105 - help
    "users": "Look at users, make admins, rotate the keys that sign tokens.",
    "gateway": "Have the gateway take a changed configuration.",
    "keys": "Look at the keys with which services and the operator sign; rotate them.",
    "forget": "Erase the receivers of USER's orders.",
    "messages": "Look at the messages of the broker; resend and resume them.",
    "payments": "Look at what providers said of payments, as it came.",
    "sagas": "Look at returns of orders; retry them, give them up, skip a step.",
    "story": "Tell what happened to an order and what happens next; keep it as a file.",
    "reconcile": "Compare orders, stock, sales, money and messages; repair what is safe.",
    "flash": "Look at flash sales; close them, and tell their store anew what was sold.",
    "profile": "Show where a process spends its time, as a flame graph.",
    "migrate": "Bring the databases of all services up to date.",
    "provision": "Make the topics and consumer groups on a RocketMQ of your own.",
    "stack": "Run a real RocketMQ, MariaDB and Redis on this machine, without Docker.",
    "docker": "Prepare what `docker compose up` in docker/ needs.",
}


@click.group(
    cls=CommandLine,
    package="ops.commands",
    listed=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="orders-on-rocketmq")
def main() -> None:
    """Orders whose stock never disagrees with them, whatever crashes.

    Try `orders demo` first: it shows the whole story in a minute, on data of its own. `orders up` keeps the same
    services running.
    """
