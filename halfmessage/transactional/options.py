"""What may be set, and the bounds of names and sizes."""

import re
from dataclasses import dataclass, field
from typing import Final

from halfmessage.errors import MessageRefused, Misconfigured
from halfmessage.mq.port import BrokerOptions
from halfmessage.saga.engine import LEASE
from halfmessage.saga.plan import Delay

MOST_BYTES: Final = 1024 * 1024
"""Of a body, as JSON. RocketMQ takes 4 MiB by default, with properties (`maxMessageSize`)."""
LONGEST_KEY: Final = 128
"""Characters."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_KEY = re.compile(rf"\S{{1,{LONGEST_KEY}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Seconds, where nothing else is said."""

    deadline: float = 30.0
    """Of a local transaction, from `begin` to its commit: one that is older is fenced by the check-back, and fails."""
    record_retention: float = 7 * 24 * 3600.0
    """For how long a check-back may ask how a transaction ended; later its message is not delivered."""
    inbox_retention: float = 7 * 24 * 3600.0
    """The window of `once_per`: what a consumer is given again later than this, it does again."""
    housekeeping_every: float = 60.0
    """Between two purges."""
    threads: int = 1
    """Of each consumer in each process."""
    batch: int = 16
    """Messages that one thread takes at once; each has a transaction of its own."""
    poll_every: float = 0.25
    """Between two looks into an outbox (`table://`), where what this process committed is looked for at once; and
    between two looks for runs of sagas that are due."""
    saga_lease: float = LEASE
    """After which a run is taken over from a process that wrote nothing down: longer than a step may take."""
    saga_delay: Delay = field(default_factory=Delay)
    """Before a step that failed is tried again."""
    saga_retention: float = 30 * 24 * 3600.0
    """Of runs that ended, and of the barrier's rows; from then on a run of the same key is a new one."""
    broker: BrokerOptions = field(default_factory=BrokerOptions)
    """Check-backs, retries, dead letters, retention."""


def checked_name(kind: str, name: str) -> str:
    """Return the name of a topic, a group or a service. Raise `Misconfigured` for one that RocketMQ might refuse."""
    if not _NAME.fullmatch(name):
        raise Misconfigured(f"A {kind} is a letter and up to 63 letters, digits, _ or -; this is {name!r}.")
    return name


def checked_key(key: str | int) -> str:
    """Return a message's key as text. Raise `MessageRefused`: a broker finds messages by keys without blanks."""
    text = str(key)
    if isinstance(key, bool) or not isinstance(key, str | int) or not _KEY.fullmatch(text):
        raise MessageRefused(
            f"A key is a whole number, or 1 to {LONGEST_KEY} characters without blanks; this is {key!r:.40}."
        )
    return text
