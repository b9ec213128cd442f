"""How a session behaves, by a word of who begins it."""

import re
from dataclasses import dataclass
from typing import Final

from common.errors import OrdersError

LONGEST_WAIT: Final = 24 * 3600  # seconds of late:SECONDS
_LATE: Final = re.compile(r"late:([0-9]{1,5})")


class UnknownScenario(OrdersError):
    """The sandbox knows card, decline, page, silent, callback, never, twice and late:SECONDS."""

    status, slug, title = 422, "unknown-scenario", "Unknown scenario"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done when a session begins.

    `charges`: how often money is taken at once. `tells`: the answer says so; else it is as if nothing had happened yet.
    `declines`: it is refused. `wait`: seconds until money is taken. `calls_back`: callbacks are sent.
    `by_hand`: a person decides on the page.
    """

    charges: int = 0
    tells: bool = False
    declines: bool = False
    wait: int | None = None
    calls_back: bool = True
    by_hand: bool = False


_BY_WORD: Final = {
    "card": Scenario(charges=1, tells=True),
    "decline": Scenario(declines=True, tells=True),
    "page": Scenario(by_hand=True),
    "silent": Scenario(charges=1, calls_back=False),
    "callback": Scenario(charges=1),
    "never": Scenario(),
    "twice": Scenario(charges=2, tells=True),
}
DEFAULT: Final = "card"
PATTERN: Final = rf"^(?:{'|'.join(_BY_WORD)}|{_LATE.pattern})$"


def scenario(word: str) -> Scenario:
    """Return the scenario of a word. Raise `UnknownScenario`."""
    if (late := _LATE.fullmatch(word)) and int(late[1]) <= LONGEST_WAIT:
        return Scenario(wait=int(late[1]))
    if word not in _BY_WORD:
        raise UnknownScenario
    return _BY_WORD[word]
