"""Commands that are imported when they are asked for: listing them, or running one, must not load all the others."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import click


class LazyGroup(click.Group):
    """A group whose commands are modules, each with a `command`."""

    def __init__(self, *args: Any, package: str, listed: Mapping[str, str], **kwargs: Any) -> None:
        """Take the package of the modules, and the commands' names with the line that --help has for each."""
        super().__init__(*args, **kwargs)
        self.package, self.listed = package, listed

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the list."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import the module of a command, and return the command; None where there is none of this name."""
        if cmd_name not in self.listed:
            return None
        return _command(f"{self.package}.{cmd_name}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list, without importing what is in it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.listed.items()))


class Drills(click.Command):
    """`orders drill NAME...`, and beside it what is no drill by name: `orders drill random`, `… mutants`."""

    others: ClassVar[dict[str, str]] = {
        "mutants": "ops.commands.drill_mutants",
        "mutate": "ops.commands.drill_mutate",
        "random": "ops.commands.drill_random",
    }

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the other command's context, where its name comes first: it is then what is invoked."""
        if args and args[0] in self.others:
            other = _command(self.others[args[0]])
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _command(module: str) -> click.Command:
    found = importlib.import_module(module).command
    assert isinstance(found, click.Command)  # noqa: S101 - what each of these modules has
    return found
