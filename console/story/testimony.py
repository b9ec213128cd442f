"""What one witness says of one step of the protocol, and whether several agree."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from console.story.model import Agree, Agreement, Say

ROW: Final = "order's row"
RECORD: Final = "transaction record"
BROKER: Final = "broker"
PAYMENT: Final = "payment"


class Stand(Enum):
    """What it means for the step. OPEN: it can't tell, or not yet. ASIDE: what it says bears on something else."""

    YES = auto()
    NO = auto()
    OPEN = auto()
    ASIDE = auto()


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one says, in words, and what that means."""

    witness: str
    words: str
    stand: Stand


def agreement(step: str, told: Iterable[Testimony]) -> Agreement:
    """Return whether witnesses agree: they disagree only where both sides are certain."""
    testimonies = list(told)
    stands = {one.stand for one in testimonies}
    contradict = {Stand.YES, Stand.NO} <= stands
    agree = Agree.NO if contradict else Agree.UNKNOWN if Stand.OPEN in stands else Agree.YES
    answer = " and ".join(word for word, stand in (("yes", Stand.YES), ("no", Stand.NO)) if stand in stands)
    return Agreement(step, [Say(one.witness, one.words) for one in testimonies], agree, answer)
