"""Whatever a timeline has in it: the picture is well-formed, every word from outside stays text, a file is intact."""

from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import example, given
from hypothesis import strategies as st

from console.story import draw, tell, verify, write_file
from console.story.runs import runs_of
from halfmessage.clock import rfc3339
from order.schema import EntryOut

AT = 1_780_000_000_000
_SVG = "{http://www.w3.org/2000/svg}"
_ELEMENTS = {"svg", "title", "g", "a", "rect", "line", "circle", "path", "text"}
_ATTRIBUTES = {
    "id", "class", "role", "aria-label", "aria-labelledby", "aria-hidden", "width", "height", "viewBox", "font-size",
    "font-family", "font-weight", "text-anchor", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "d", "fill",
    "stroke", "stroke-opacity", "stroke-dasharray", "href",
}  # fmt: skip

_MARKUP = st.sampled_from(
    ["<script>alert(1)</script>", "</svg><img src=x onerror=alert(1)>", '" onload="alert(1)', "javascript:alert(1)",
     "</title></a>", "]]>", "&lt;b&gt;", "<!--", "\u202egnp.exe", "\x1b[31m", "\x00", "\ud800", "</script>", "'"]
)  # fmt: skip
_WORDS = st.one_of(_MARKUP, st.text(max_size=40), st.text(st.characters(), max_size=40))
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(-1e300, 1e300), _WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
_EVENTS = st.one_of(
    _WORDS,
    st.sampled_from(
        ["order requested", "half message sent", "timeout scheduled", "message sent", "stock deducted",
         "stock released", "local transaction committed", "local transaction aborted", "local transaction",
         "order paid", "order closed", "purchase begun", "purchase taken", "purchase answered", "purchase placed",
         "half message resolved: commit", "half message resolved: rollback", "half message parked",
         "check-back 1: commit", "check-back 2: no process to answer", "rollback handled", "rollback dead-lettered",
         "timeout delivered, not handled yet", "tombstone written: a late deduction is refused", "deduction", "payment",
         "messages", "payment attempt", "provider's callback: succeeded", "payment event handled: refund-refused",
         "payment event handled", "money sent back", "money to be sent back"]
    ),
)  # fmt: skip
_NAMES = st.sampled_from(
    ["message_id", "topic", "state", "properties", "deliver_at", "next_check_at", "next_delivery_at", "check_count",
     "check", "answer", "resolution", "checks", "group", "deliveries", "tx_id", "transaction", "order_written", "items",
     "amount", "currency", "reason", "status", "provider", "refusal", "via", "effect", "expires_at", "close_reason",
     "paid_through", "coupon_id", "sale_id", "purchase_id", "quantity"]
)  # fmt: skip
_TIMES = st.one_of(st.none(), st.integers(AT, AT + 10**8).map(rfc3339))
_EVIDENCE = st.dictionaries(st.one_of(_NAMES, _WORDS), st.one_of(_VALUES, _TIMES), max_size=6)
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "at": _TIMES,
            "event": _EVENTS,
            "source": st.one_of(st.sampled_from(["order", "broker", "stock", "pay", "client"]), _WORDS),
            "known": st.booleans(),
            "evidence": _EVIDENCE,
        }
    ),
    max_size=12,
)
_ORDERS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"status": st.one_of(st.sampled_from(["created", "paid", "closed"]), _WORDS)},
        optional={
            "expires_at": st.one_of(_TIMES, _VALUES),
            "paid_at": _TIMES,
            "closed_at": _TIMES,
            "close_reason": _VALUES,
            "total_amount": _VALUES,
            "payment": st.one_of(_VALUES, st.fixed_dictionaries({"status": _WORDS})),
        },
    ),
)


class _Tags(HTMLParser):
    """Counts elements as a browser sees them, and what could run or load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.bad: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            outside = name in {"href", "src", "action"} and not (value or "").startswith("#step-")
            if name.startswith("on") or name == "style" or outside:
                self.bad.append(f"{tag} {name}={value}")


_NASTY = "\ud800\u202e</script><img src=x onerror=alert(1)>\"'\x00"
_HELD = {"at": None, "event": f"{_NASTY} deducted", "source": _NASTY, "known": True, "evidence": {_NASTY: _NASTY}}
_SILENT = {"at": None, "event": "deduction", "source": _NASTY, "known": False, "evidence": {"reason": _NASTY}}
_GIVEN = {"at": None, "event": f"{_NASTY} handled", "source": "broker", "known": True, "evidence": {"group": _NASTY}}


@example(order={"status": _NASTY, "close_reason": _NASTY}, entries=[_HELD, _GIVEN])
@example(order={"status": "closed", "close_reason": _NASTY}, entries=[_SILENT, _GIVEN])
@given(order=_ORDERS, entries=_ENTRIES)
def test_words_from_outside_stay_text(order: dict[str, Any] | None, entries: list[dict[str, Any]]) -> None:
    """In the picture and in the file, where data is text too and changes nothing of what a browser sees."""
    story = tell(order, entries, order_id="42", now_ms=AT + 10**7)
    root = ET.fromstring(draw(story))  # noqa: S314 - ours, and well-formed or it fails
    for element in root.iter():
        assert element.tag.removeprefix(_SVG) in _ELEMENTS
        assert set(element.attrib) <= _ATTRIBUTES
    links = [element.get("href") for element in root.iter(f"{_SVG}a")]
    runs = list(runs_of(story.steps))
    assert [step for run in runs for step in run.steps] == list(story.steps)
    assert links == [f"#step-{run.first.number}" for run in runs]
    page = write_file(story)
    seen = _Tags(page)
    assert (seen.tags.count("script"), seen.bad) == (1, [])
    assert not {"img", "b", "iframe", "link"} & set(seen.tags)
    assert verify(page).story == story
    assert page.encode()  # as it is written


@given(entries=_ENTRIES)
def test_a_time_that_is_not_known_is_never_a_place_in_time(entries: list[dict[str, Any]]) -> None:
    """Steps without one stand last, dashed, with no length before or after them."""
    story = tell(None, entries, order_id="42", now_ms=AT + 10**7)
    times = [step.at for step in story.steps]
    known = [at for at in times if at is not None]
    assert times == sorted(known) + [None] * (len(times) - len(known))
    for gap in story.gaps:
        before, after = times[gap.before - 2], times[gap.before - 1]
        assert before is not None
        assert after is not None
        assert gap.ms == after - before
    root = ET.fromstring(draw(story))  # noqa: S314 - ours
    drawn = list(root.iter(f"{_SVG}a"))
    for step, link in zip([run.first for run in runs_of(story.steps)], drawn, strict=True):
        dashed = any(element.get("stroke-dasharray") for element in link.iter())
        assert dashed is (step.at is None or not step.known)
        words = [element.text for element in link.iter(f"{_SVG}text")]
        assert ("not known" in words) or step.at is not None
        assert step.at is not None or not any((word or "").startswith("+") for word in words[1:2])


def test_entries_are_what_the_order_service_tells() -> None:
    """A member that it gets must be known here."""
    assert set(EntryOut.model_fields) == {"at", "event", "source", "known", "evidence"}
