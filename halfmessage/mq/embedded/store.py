"""What producers, consumers, the console and housekeeping share."""

from dataclasses import dataclass

from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.wakeup import Wakeup
from halfmessage.mq.embedded.writer import Writer
from halfmessage.mq.port import BrokerOptions


@dataclass(frozen=True, slots=True)
class Store:
    """One process's access to the broker's file."""

    writer: Writer
    reader: Reader
    wakeup: Wakeup
    options: BrokerOptions


def in_ms(seconds: float) -> int:
    """Return `seconds` in ms."""
    return round(seconds * 1000)
