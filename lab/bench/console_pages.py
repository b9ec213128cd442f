"""Every page of the console, with what it is asked by: taken from its routes, so that a new page is measured, too."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from common.registry import SUBSCRIPTIONS, TOPICS
from console.service.orders import STATUSES
from console.service.transactions import OF
from halfmessage.mq.port import State
from halfmessage.saga.model import RunState
from ops.errors import CommandFailed

_STATES_OF_PAYMENTS: Final = ("open", "closed", "succeeded", "refunding", "refunded")
_GROUPS: Final = tuple(sorted({group for _, group in SUBSCRIPTIONS}))
_PLACE: Final = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, slots=True)
class Things:
    """Ids that pages are asked by, of things that are there, and cursors from the middle of long lists.

    By the names that the console's routes have for them, and what else the box finds.
    """

    order_id: str
    tx_id: str
    payment_id: str
    run_id: str
    message_id: str
    goods_id: str
    coupon_id: str
    sale_id: str
    purchase_id: str
    batch: str
    drill_id: str
    coupon_code: str
    user: str
    key: str
    call: str
    from_: str
    until: str
    cursor_of_orders: str
    cursor_of_a_status: str
    cursor_of_payments: str
    cursor_of_returns: str
    cursor_of_messages: str


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked for: the page's rule, in which words, and the path with its query."""

    rule: str
    asked: str
    path: str


# of each page that takes parameters, what it is asked by; {names} are those of `Things`
_ASKED: Final[Mapping[str, Mapping[str, Sequence[str]]]] = MappingProxyType(
    {
        "/live": {"after": ("0",)},
        "/orders": {"user": ("{user}", "nobody"), "status": STATUSES, "cursor": ("{cursor_of_orders}",)},
        "/orders/<id:order_id>": {"did": ("swept",)},
        "/find": {
            "q": (
                *("{order_id}", "{tx_id}", "{message_id}", "{coupon_id}", "{coupon_code}", "{user}", "{key}", "{call}"),
                *("{sale_id}", "{purchase_id}", "{goods_id}", "nothing-has-this-name", "123456789"),
            )
        },
        "/messages": {
            "topic": tuple(sorted(TOPICS)),
            "group": _GROUPS,
            "state": tuple(State),
            "key": ("{order_id}", "nothing"),
            "from": ("{from_}",),
            "until": ("{until}",),
            "cursor": ("{cursor_of_messages}",),
        },
        "/dead": {"dead": ("{cursor_of_messages}",), "parked": ("{cursor_of_messages}",)},
        "/transactions": {"of": tuple(OF), "cursor": ("{cursor_of_messages}",)},
        "/payments": {
            "order_id": ("{order_id}",),
            "status": _STATES_OF_PAYMENTS,
            "cursor": ("{cursor_of_payments}",),
        },
        "/sagas": {"state": tuple(RunState), "cursor": ("{cursor_of_returns}",)},
        "/stock": {"cursor": ()},
        "/coupons": {"cursor": ()},
        "/sales": {"open": ("true", "false"), "cursor": ()},
    }
)
# parameters together: each alone may be served by an index that both are not
_TOGETHER: Final[Mapping[str, Sequence[Mapping[str, str]]]] = MappingProxyType(
    {
        "/orders": (
            {"user": "{user}", "status": "created"},
            {"user": "{user}", "cursor": "{cursor_of_orders}"},
            {"status": "closed", "cursor": "{cursor_of_a_status}"},
        ),
        "/messages": (
            *({"group": group, "state": State.DONE} for group in _GROUPS),
            *({"topic": topic, "state": State.DONE} for topic in sorted(TOPICS)),
            {"group": "stock", "from": "{from_}", "until": "{until}"},
            {"group": "stock", "cursor": "{cursor_of_messages}"},
            {"topic": "order_rollback", "cursor": "{cursor_of_messages}"},
        ),
        "/payments": ({"status": "succeeded", "cursor": "{cursor_of_payments}"},),
        "/sagas": ({"state": "done", "cursor": "{cursor_of_returns}"},),
    }
)


def pages(declared: Mapping[str, Sequence[str]], things: Things) -> Iterator[Page]:
    """Yield what to ask for, of all pages that are `declared` with the parameters that they take.

    Raise `CommandFailed` for a page that nothing is known to be asked by: it would not be measured.
    """
    known = asdict(things)
    for rule, parameters in sorted(declared.items()):
        path = _PLACE.sub(partial(_known, known, rule), rule)
        yield Page(rule, "", path)
        for asked in (*_alone(rule, parameters), *_TOGETHER.get(rule, ())):
            query = {name: value.format(**known) for name, value in asked.items()}
            yield Page(
                rule, ", ".join(f"{name} {_word(value)}" for name, value in asked.items()), f"{path}?{urlencode(query)}"
            )


def _alone(rule: str, parameters: Sequence[str]) -> Iterator[Mapping[str, str]]:
    for name in parameters:
        try:
            values = _ASKED[rule][name]
        except KeyError:
            raise CommandFailed(f"{rule} takes {name!r}: say in lab/bench/console_pages.py what to ask for.") from None
        yield from ({name: value} for value in values)


def _known(known: Mapping[str, str], rule: str, place: re.Match[str]) -> str:
    if place[1] not in known:
        raise CommandFailed(f"{rule} is of a {place[1]!r}: say in lab/bench/console_pages.py which there is.")
    return known[place[1]]


def _word(value: str) -> str:
    """Name what was asked by: a thing by what it is."""
    return value[1:-1].strip("_").replace("_", " ") if value.startswith("{") else value
