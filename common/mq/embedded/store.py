"""What producers, consumers, the console and housekeeping share."""

from dataclasses import dataclass

from common.mq.embedded.reader import Reader
from common.mq.embedded.wakeup import Wakeup
from common.mq.embedded.writer import Writer
from common.mq.port import BrokerOptions


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
