"""What an adapter declares of its broker, so that one contract fits all. Nothing here excuses losing a message."""

from collections.abc import Callable
from dataclasses import dataclass

from halfmessage.mq.port import Broker


@dataclass(frozen=True, slots=True)
class Traits:
    """Where a broker differs from the embedded one. Times in ms unless said otherwise."""

    console: bool = True  # its messages can be looked at through the port
    redelivery: bool = True  # how soon and how often a message comes again is ours to set
    check_times: bool = True  # when and how often it asks is ours to set
    asked_soon: bool = True  # a producer that began a half message is asked from the first check on
    final: bool = True  # what a check-back decided stands, whatever the sender says later
    ordered: bool = True  # of two messages of a topic, the older one comes first
    step: int = 1  # its delays are counted in these
    invisible: float = 0.0  # s; the shortest invisible time it allows
    patience: float = 5.0  # s until what was put off is certainly back
    threads: frozenset[str] = frozenset()  # names of threads that its library keeps for the process's life


@dataclass(frozen=True, slots=True)
class BrokerFactory:
    """Opens brokers, as so many processes would, on the same messages; short times unless told otherwise."""

    open: Callable[..., Broker]
    traits: Traits

    def __call__(self, **options: float) -> Broker:
        return self.open(**options)
