"""Where commands print. Apart from their options: Rich takes a third of the time in which a command starts."""

from collections.abc import Callable

from rich.console import Console


def console() -> Console:
    """Return where to print: wide where it is no terminal, so that no table is cut in a pipe."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200)


def sayer(out: Console) -> Callable[[str], None]:
    """Return a function that prints a line as it is, from any thread."""
    return lambda line: out.print(line, markup=False, soft_wrap=True)
