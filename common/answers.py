"""Reads what another service answered strictly: an answer that is not what was asked for is none."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from common.errors import PeerUnavailable

T = TypeVar("T")


@contextmanager
def readable(peer: str) -> Iterator[None]:
    """Raise `PeerUnavailable` where an answer of the service `peer` is not what was asked for."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise PeerUnavailable(
            f"The answer of the {peer} service can't be read; nothing was changed, try again."
        ) from error


def by_id(items: Sequence[Mapping[str, Any]], key: str) -> dict[int, Mapping[str, Any]]:
    """Return the items by their id. Raise `ValueError` where one comes twice, for either could be meant."""
    found = {int(item[key]): item for item in items}
    if len(found) != len(items):
        raise ValueError("an id that comes twice")
    return found


def of_orders(items: Sequence[Mapping[str, Any]], asked: Collection[int]) -> dict[int, Mapping[str, Any]]:
    """Return the items by order. Raise `ValueError` unless they are about the orders asked for, each once."""
    found = by_id(items, "order_id")
    if found.keys() != set(asked):
        raise ValueError("other orders than were asked for")
    return found


def one_of(known: Collection[T], word: T) -> T:
    """Return a word of an answer. Raise `ValueError` for one that was not agreed on."""
    if word not in known:
        raise ValueError("an unknown word")
    return word
