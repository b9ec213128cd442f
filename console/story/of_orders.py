"""What order and the participants tell: rows, local transactions, reservations. And what is not known."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from console.story import of_messages, of_money, of_sales
from console.story.drawn import CLIENT, DATABASE, ORDER, Drawn, mapping, money, tx_line
from console.story.entries import Entry
from console.story.model import Tone
from console.story.of_halves import of_half
from console.story.words import clock, plain


def _deducted(entry: Entry) -> Drawn:
    return Drawn(ORDER, entry.source, f"reserved at {plain(entry.source)}", _held(entry))


def _released(entry: Entry) -> Drawn:
    return Drawn(entry.source, entry.source, f"given back at {plain(entry.source)}", _held(entry), Tone.GOOD)


def _tombstone(entry: Entry) -> Drawn:
    label = f"tombstone at {plain(entry.source)}: should the reservation still come, it is refused"
    return Drawn(entry.source, entry.source, label, "", Tone.GOOD)


def _transaction(entry: Entry) -> Drawn:
    purpose, outcome = plain(entry.get("transaction")), entry.event.removeprefix("local transaction ")
    if outcome == "committed":
        written = ": the order is written" if purpose == "placing" and entry.get("order_written") is True else ""
        if entry.get("order_written") is False:
            written = ", without this order: it had dropped out of its batch"
        return Drawn(ORDER, DATABASE, f"{purpose} committed{written}", tx_line(entry), Tone.GOOD)
    label = f"{purpose} given up for good" if outcome == "aborted" else f"{purpose}: {plain(outcome)}"
    return Drawn(ORDER, DATABASE, label, tx_line(entry), Tone.BAD if outcome == "aborted" else Tone.PLAIN)


def _requested(entry: Entry) -> Drawn:
    expires = entry.time("expires_at")
    return Drawn(CLIENT, ORDER, "order requested", "" if expires is None else f"to be paid by {clock(expires)}")


def _submitted(entry: Entry) -> Drawn:
    return Drawn(CLIENT, ORDER, "order submitted, to be placed soon", f"order request {plain(entry.get('request_id'))}")


def _decided(entry: Entry) -> Drawn:
    about = f"order request {plain(entry.get('request_id'))}"
    return Drawn(ORDER, DATABASE, f"order request {plain(entry.get('state'))}", about, Tone.GOOD)


def _paid(entry: Entry) -> Drawn:
    through = entry.get("paid_through")
    return Drawn(ORDER, DATABASE, "order paid", "" if through is None else f"through {plain(through)}", Tone.GOOD)


def _closed(entry: Entry) -> Drawn:
    reason = entry.get("close_reason")
    return Drawn(ORDER, DATABASE, "order closed", "" if reason is None else f"reason: {plain(reason)}")


def _returned(_entry: Entry) -> Drawn:
    return Drawn(ORDER, DATABASE, "order returned", "its return begins with it")


def _held(entry: Entry) -> str:
    items = entry.get("items")
    if isinstance(items, Sequence) and not isinstance(items, str):
        lines = [mapping(item) for item in items]
        return plain(", ".join(f"{plain(of.get('quantity'))} of goods {plain(of.get('goods_id'))}" for of in lines))
    if entry.get("coupon_id") is not None:
        return f"coupon {plain(entry.get('coupon_id'))}"
    if entry.get("purchase_id") is not None:
        return of_sales.pieces_line(entry)
    return money(entry)


def _unknown(entry: Entry) -> Drawn:
    if entry.event == "money to be sent back":
        return of_money.not_done(entry)
    if entry.event == "deduction" and entry.get("reason") == f"{entry.source} has no reservation":
        return Drawn(entry.source, entry.source, f"nothing is reserved at {plain(entry.source)}", "so far, as it says")
    what = {
        "deduction": f"what {plain(entry.source)} holds",
        "local transaction": f"how {plain(entry.get('transaction'))} ended",
        "messages": "what the broker did",
    }.get(entry.event, plain(entry.event))
    reason = "" if entry.get("reason") is None else plain(entry.get("reason"))
    return Drawn(entry.source, entry.source, f"{what}: not known", reason, Tone.WAIT)


_EXACT: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {
        **of_messages.EXACT,
        **of_money.EXACT,
        **of_sales.EXACT,
        "order submitted": _submitted,
        "order request decided": _decided,
        "order requested": _requested,
        "order paid": _paid,
        "order closed": _closed,
        "order returned": _returned,
    }
)
_ENDINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {**of_messages.ENDINGS, " deducted": _deducted, " released": _released}
)
_BEGINNINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {
        **of_money.BEGINNINGS,
        "tombstone written": _tombstone,
        "local transaction ": _transaction,
    }
)


def drawn(entry: Entry, purpose: str) -> Drawn:
    """Draw an entry; one of a kind that is not known here (of a later release) is told as it came.

    `purpose`: what its half message is for, `placing`, `closing`, `paying` or `buying`; empty where it is about none.
    """
    if not entry.known:
        return _unknown(entry)
    told_of_half = of_half(entry, purpose) if purpose else None
    if told_of_half is not None:
        return told_of_half
    if entry.event in _EXACT:
        return _EXACT[entry.event](entry)
    ends = (told for ending, told in _ENDINGS.items() if entry.event.endswith(ending))
    begins = (told for beginning, told in _BEGINNINGS.items() if entry.event.startswith(beginning))
    told = next(ends, None) or next(begins, None)
    return told(entry) if told is not None else Drawn(entry.source, entry.source, plain(entry.event))
