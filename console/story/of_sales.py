"""What is told of the purchase in a flash sale that an order is of."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from console.story.drawn import CLIENT, DATABASE, FLASH, ORDER, Drawn, tx_line
from console.story.entries import Entry
from console.story.model import Tone
from console.story.words import plain


def pieces_line(entry: Entry) -> str:
    """Name the purchase that an entry is about, and how much it is of which sale."""
    bought = f"purchase {plain(entry.get('purchase_id'))}"
    if entry.get("quantity") is not None:
        bought = f"{plain(entry.get('quantity'))} of sale {plain(entry.get('sale_id'))} by {bought}"
    return bought


def _begun(entry: Entry) -> Drawn:
    return Drawn(CLIENT, FLASH, f"buys in flash sale {plain(entry.get('sale_id'))}", pieces_line(entry))


def _taken(entry: Entry) -> Drawn:
    latest = "" if entry.at is None else ", at the latest now"
    return Drawn(FLASH, FLASH, f"its pieces are taken{latest}", tx_line(entry), Tone.GOOD)


def _answered(entry: Entry) -> Drawn:
    label = "from now on the buyer is told: 202, taken in"
    return Drawn(FLASH, CLIENT, label, pieces_line(entry), Tone.GOOD)


def _placed(entry: Entry) -> Drawn:
    return Drawn(ORDER, DATABASE, f"purchase {plain(entry.get('state'))}", pieces_line(entry), Tone.GOOD)


EXACT: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {
        "purchase begun": _begun,
        "purchase taken": _taken,
        "purchase answered": _answered,
        "purchase placed": _placed,
    }
)
