"""The command line `orders`. Each command is a module of `ops.commands`, imported when it is asked for."""

import importlib

import click

from common.errors import OrdersError

_COMMANDS = (
    *("demo", "up", "down", "status", "token", "messages", "reconcile", "migrate"),
    *("stack", "docker", "bench", "drill"),
)


class _Commands(click.Group):
    """Commands found by name; what they could foresee to go wrong is told in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"ops.commands.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - what every module of ours there has
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OrdersError as error:
            raise click.ClickException(error.detail) from error
        except PermissionError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}.") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="orders-on-rocketmq")
def main() -> None:
    """Orders whose stock never disagrees with them, whatever crashes.

    Try `orders demo` first: it shows the whole story in a minute, on data of its own. `orders up` keeps the same
    services running.
    """
