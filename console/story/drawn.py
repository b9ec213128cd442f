"""Where an entry of a timeline goes in the picture, and what several kinds of entries are said with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from console.story.entries import Entry
from console.story.model import Tone
from console.story.words import plain

CLIENT: Final = "client"
ORDER: Final = "order"
PAY: Final = "pay"
FLASH: Final = "flash"
DATABASE: Final = "database"
BROKER: Final = "broker"
PROVIDER: Final = "provider"


@dataclass(frozen=True, slots=True)
class Drawn:
    """From which lane to which (or within one), and in which words. `lost`: it did not get there."""

    begins: str
    ends: str
    label: str
    detail: str = ""
    tone: Tone = Tone.PLAIN
    lost: bool = False


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a member that should be an object; an empty one where it is not."""
    return value if isinstance(value, Mapping) else {}


def tx_line(entry: Entry) -> str:
    """Name the transaction that an entry is about, if it is about one."""
    tx_id = entry.get("tx_id") or mapping(entry.get("properties")).get("tx_id")
    return "" if tx_id is None else f"transaction {plain(tx_id)}"


def message_line(entry: Entry) -> str:
    """Name the message that an entry is about."""
    return f"message {plain(entry.get('message_id'))}"


def joined(*told: str) -> str:
    """Return what there is to tell, as one detail."""
    return "; ".join(one for one in told if one)


def process_line(entry: Entry, did: str) -> str:
    """Name the process that did something, where the broker knows it."""
    pid = entry.get("pid")
    return "" if pid is None else f"{did} process {plain(pid)}"


def money(entry: Entry) -> str:
    """Tell how much an entry is about, and why."""
    amount, reason = entry.get("amount"), entry.get("reason")
    told = [] if amount is None else [f"{plain(amount)} minor units of {plain(entry.get('currency'))}"]
    return ", ".join([*told, *([] if reason is None else [f"because: {plain(reason)}"])])
