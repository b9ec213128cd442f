"""Options that several commands share, and where they print."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from ops.places import default_data_dir

F = TypeVar("F", bound=Callable[..., Any])

data_dir: Callable[[F], F] = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    envvar="ORDERS_DATA_DIR",
    show_default="var in the clone",
    help="Where databases, messages, logs and the secret are.  [env: ORDERS_DATA_DIR]",
)
as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def positive(_: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse a duration that isn't above 0 (nan neither)."""
    if not 0 < value < 10 * 365 * 86400:
        raise click.BadParameter("a number of seconds above 0", param=parameter)
    return value


def console() -> Console:
    """Return where to print: wide where it is no terminal, so that no table is cut in a pipe."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200)


def sayer(out: Console) -> Callable[[str], None]:
    """Return a function that prints a line as it is, from any thread."""
    return lambda line: out.print(line, markup=False, soft_wrap=True)
