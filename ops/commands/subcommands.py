"""A command whose first word may be the name of another command."""

import importlib
from typing import Any, ClassVar

import click


class Drills(click.Command):
    """`orders drill NAME...`, and beside it what is no drill by name: `orders drill random`, `… mutants`."""

    others: ClassVar[dict[str, str]] = {
        "mutants": "ops.commands.drill_mutants",
        "random": "ops.commands.drill_random",
    }

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the other command's context, where its name comes first: it is then what is invoked."""
        if args and args[0] in self.others:
            other = importlib.import_module(self.others[args[0]]).command
            assert isinstance(other, click.Command)  # noqa: S101 - what each of these modules has
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)
