"""Lists cut to a bound: how much one transaction writes, and how many values one statement names.

Who sends a list does not decide how long a transaction takes: a batch of messages may name a hundred thousand orders,
and one transaction of them would outlive the time in which its messages are hidden from others.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection, Executable

T = TypeVar("T")

VALUES: Final = 300
"""Keys that one statement names, each with up to three host variables: SQLite may be built for 999 of them in all,
see https://www.sqlite.org/limits.html#max_variable_number"""
ROWS: Final = 500
"""Orders that one transaction changes: some 60 ms at 8,000 a second, so that others wait for it only so long."""
LINES: Final = 5000
"""Rows that one transaction changes in all, with the lines of its orders; as many as one batch of placing may have."""


def by_weight(items: Iterable[T], weigh: Callable[[T], int], heaviest: int) -> Iterator[list[T]]:
    """Cut `items` into lists, in their order, that weigh at most `heaviest` each; one item may always stand alone."""
    part: list[T] = []
    weight = 0
    for item in items:
        more = weigh(item)
        if part and weight + more > heaviest:
            yield part
            part, weight = [], 0
        part.append(item)
        weight += more
    if part:
        yield part


def chunks(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Cut `items` into lists of at most `most`, in their order."""
    return by_weight(items, lambda _: 1, most)


def rows_in(connection: "Connection", statement: "Executable", name: str, values: Collection[Any]) -> list[Any]:
    """Run a query that names `values` in its expanding parameter `name`, as often as that takes; return all rows.

    They come in the order of the query as a whole only if `values` are in it, too.
    """
    return [row for part in chunks(values, VALUES) for row in connection.execute(statement, {name: part})]
