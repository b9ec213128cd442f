"""A batch gives each of its orders what it would have got alone."""

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from order.model import Line, Order, Status, idempotency_keys
from order.service.placing import Answer, Draft, IdempotencyKey
from tests.fakes import Shop

pytestmark = [
    pytest.mark.timeout(600),  # each example makes two shops on files: on a busy machine they take minutes
    pytest.mark.P4,
]
SCARCE, PLENTY = 1, 2
Asked = tuple[int, int, str | None]
"""Goods, quantity, idempotency key: `taken` is another order's already."""

_scarce = st.tuples(st.just(SCARCE), st.integers(1, 4), st.none())
_plenty = st.tuples(st.just(PLENTY), st.integers(1, 4), st.sampled_from([None, "taken", "a", "b", "c"]))


def _shop(directory: Path, pieces: int) -> Shop:
    shop = Shop(directory)
    shop.sell(SCARCE, pieces)
    shop.sell(PLENTY, 1000)
    row = {"user_id": "ann", "idempotency_key": "taken", "request_hash": "hash", "order_id": 1}
    shop.database.transact(lambda c: c.execute(insert(idempotency_keys), [row]))
    return shop


def _draft(shop: Shop, asked: Asked) -> Draft:
    goods_id, quantity, key = asked
    now = now_ms()
    line = Line(goods_id, "Tea", "", None, quantity, 100, None)
    order = Order(
        shop.ids.next(), 0, "ann", Status.CREATED, None, (line,), None, 100 * quantity, "EUR", now, now + 900_000
    )
    return Draft(order, IdempotencyKey("ann", key, "hash") if key else None)


def _told(shop: Shop, drafts: list[Draft], answers: list[Answer]) -> list[tuple[object, ...]]:
    """Return what each order got, and what was left of it: its row and the state of its reservation."""
    shop.quiet()
    exist = {order.order_id for order in shop.reader.page("ann", status=None, below=None, limit=100)}
    told: list[tuple[object, ...]] = []
    for draft, answer in zip(drafts, answers, strict=True):
        order_id = draft.order.order_id
        problem = answer.slug if isinstance(answer, HalfMessageError) else None
        told.append((type(answer).__name__, problem, order_id in exist, shop.state(order_id)))
    return [*told, ("left", shop.available(SCARCE), shop.available(PLENTY))]


@settings(max_examples=15)
@given(asked=st.lists(_scarce | _plenty, min_size=1, max_size=10), pieces=st.integers(0, 8))
def test_each_gets_what_it_would_have_got_alone(asked: list[Asked], pieces: int) -> None:
    """Short ones, ones whose key is taken, and keys that occur twice: as one batch, and one after the other."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        with closing(_shop(Path(one), pieces)) as together, closing(_shop(Path(other), pieces)) as alone:
            drafts = [_draft(together, each) for each in asked]
            as_a_batch = _told(together, drafts, together.placing.place(drafts))
            drafts = [_draft(alone, each) for each in asked]
            one_by_one = _told(alone, drafts, [alone.placing.place([draft])[0] for draft in drafts])
        assert as_a_batch == one_by_one
