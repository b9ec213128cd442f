"""Commands that are imported when they are asked for: listing them, or running one, must not load all the others."""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from halfmessage.errors import HalfMessageError


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
        return imported(f"{self.package}.{cmd_name}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list, without importing what is in it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.listed.items()))


class CommandLine(LazyGroup):
    """A whole command line: what could be foreseen to go wrong is told in one line."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that is asked for. Raise `ClickException` for our errors and the file system's."""
        try:
            return super().invoke(ctx)
        except HalfMessageError as error:
            raise click.ClickException(error.detail) from error
        except BrokenPipeError:
            raise  # who reads our output has gone: click's to end quietly
        except OSError as error:  # what a command wants of the file system and does not get: full, read-only, a file
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}.") from error


def imported(module: str) -> click.Command:
    """Import a module of one command, and return its `command`."""
    found = importlib.import_module(module).command
    assert isinstance(found, click.Command)  # noqa: S101 - what each of these modules has
    return found
