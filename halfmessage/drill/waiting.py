"""Waiting for what a service does on threads of its own."""

import time
from collections.abc import Callable

from halfmessage.errors import Unavailable
from halfmessage.transactional import TransactionalMessages

_LOOK_EVERY = 0.05  # seconds


def until(holds: Callable[[], bool], patience: float) -> None:
    """Return once it holds, or after `patience` seconds."""
    last = time.monotonic() + patience
    while time.monotonic() < last and not holds():
        time.sleep(_LOOK_EVERY)


def until_quiet(tx: TransactionalMessages, patience: float) -> None:
    """Return once nothing is on its way, or after `patience` seconds: then the invariants say what is."""
    until(lambda: is_quiet(tx), patience)


def is_quiet(tx: TransactionalMessages) -> bool:
    """Whether nothing is on its way."""
    try:
        return tx.status().is_quiet
    except Unavailable:  # a busy machine: asked again
        return False
