"""Lies about flash sales, one at least for each rule of `rules_sales`."""

from collections.abc import Callable
from typing import Any

from lab.drill.nemesis.history import Owned
from tests.unit.nemesis.story import GOODS, PIECES_OF_SALE, SALE, Story, order_of_sale, request

Lie = Callable[[Story], object]


def _terms(**changed: Any) -> Lie:
    """Have the sale be asked for, and opened, on other terms."""

    def lie(story: Story) -> None:
        for number, entry in enumerate(story.history):
            if entry.op == "open-sale":
                story.change(number, sent={**(entry.sent or {}), **changed}, body={**entry.body, **changed})

    return lie


def _opened(**changed: Any) -> Lie:
    """Have the second answer tell of another sale than the first."""

    def lie(story: Story) -> None:
        *_, last = (number for number, entry in enumerate(story.history) if entry.op == "open-sale")
        story.change(last, body={**story.history[last].body, **changed})

    return lie


def _opened_and_gone(story: Story) -> None:
    terms = {"goods_id": GOODS, "quantity": 1, "unit_price": 5, "per_user": 1}
    story.call("open-sale", "sale-1", status=201, sent=terms, body={**terms, "sale_id": "61"})


def _opened_twice(story: Story) -> None:
    _opened(sale_id="61")(story)
    story.sales["61"] = Owned(GOODS, 0)


def _ends(purchase_id: str, *told: Any, **how: Any) -> Lie:
    """Have a purchase that got a 202 end otherwise."""
    return lambda story: story.requests.update({purchase_id: request(purchase_id, *told, **how)})


def _order_is(order_id: str, **changed: Any) -> Lie:
    def lie(story: Story) -> None:
        (shown,) = (shown for shown in story.orders if shown["order_id"] == order_id)
        shown.update(changed)

    return lie


def _twice_an_order(story: Story) -> None:
    story.bought(order_of_sale("54", "97", "closed", close_reason="timeout"))


def _no_user_bought(story: Story) -> None:
    story.bought(order_of_sale("54", "99", "closed", close_reason="timeout"))


def _owns(owned: int) -> Lie:
    return lambda story: story.sales.update({SALE: Owned(GOODS, owned)})


def _never_sold_out(story: Story) -> None:
    _terms(quantity=9)(story)
    _owns(9)(story)


LIES: list[tuple[str, Lie]] = [
    ("opened_once", _opened(quantity=PIECES_OF_SALE + 1)),
    ("opened_once", _opened_and_gone),
    ("opened_once", _opened_twice),
    ("bought_decided", _ends("98", "queued")),
    ("bought_decided", _ends("98", "failed")),
    ("bought_decided", _ends("98", "refused", slug="insufficient-stock")),
    ("bought_decided", lambda story: story.requests.pop("98")),
    ("bought_as_asked", _ends("96", "created", made="51")),
    ("bought_as_asked", _ends("96", "created", made="77")),
    ("bought_as_asked", _order_is("52", total_amount=1)),
    ("bought_as_asked", _order_is("52", items=[{"goods_id": GOODS, "quantity": 2, "unit_price": 15}])),
    ("bought_once", _twice_an_order),
    ("bought_once", _no_user_bought),
    ("not_oversold", _owns(PIECES_OF_SALE - 1)),
    ("not_oversold", _owns(PIECES_OF_SALE + 1)),
    ("no_more_than_one_may", _terms(per_user=1)),
    ("sold_out_truly", _never_sold_out),
]
