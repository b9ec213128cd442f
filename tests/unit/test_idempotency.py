"""What makes a request the same one under its Idempotency-Key, in this release and after it."""

import pytest
from pydantic import BaseModel

from common.idempotency import key_of
from order.schema import PlaceOrder

ORDER = b'{"items": [{"goods_id": "7", "quantity": 2}, {"goods_id": "3", "quantity": 1}]}'
AGAIN = b'{"receiver":null,"items":[{"quantity":2,"goods_id":"7"},{"quantity":1,"goods_id":"\\u0033"}]}'
NAMED = (
    b'{"items": [{"goods_id": "7", "quantity": 2}], "receiver": {"name": "\xc3\x9c","phone": "1","address": "a\\nb"}}'
)
# As commit 0a2b2e0 stored them with these two orders.
HASHES_OF_0_1 = {
    ORDER: "d3a066a665fd4fffea70f22450c111a8acd19f4cea61fdd1bcf81f61e635fae2",
    NAMED: "ca41a93912a515e8296d136073606dded9aed948bc45122c5aee8948532119e0",
}


class Later(PlaceOrder):
    """An order as a later release may know it: with more fields, one of them with a default."""

    coupon_id: str | None = None
    gift: bool = False


def hash_of(model: type[BaseModel], raw: bytes, call: str = "POST /orders") -> str:
    key = key_of("ann", "k", call, model.model_validate_json(raw))
    assert key is not None
    return key.request_hash


def test_how_a_request_is_written_makes_no_other_one() -> None:
    """Order of names, spaces, escapes, and a null for what may be left out."""
    assert hash_of(PlaceOrder, ORDER) == hash_of(PlaceOrder, AGAIN)


def test_a_field_that_a_later_release_has_makes_no_other_request() -> None:
    """A retry across an upgrade is answered as before; what is sent in it is hashed."""
    assert hash_of(PlaceOrder, ORDER) == hash_of(Later, ORDER) == hash_of(Later, AGAIN)
    assert hash_of(Later, ORDER[:-1] + b', "gift": true}') != hash_of(Later, ORDER)


def test_another_default_makes_no_other_request() -> None:
    """What the client said counts, not what was made of what it left out."""

    class Changed(Later):
        gift: bool = True

    for gift in (b"true", b"false"):
        raw = ORDER[:-1] + b', "gift": ' + gift + b"}"
        assert hash_of(Changed, raw) == hash_of(Later, raw)


@pytest.mark.parametrize("other", [ORDER.replace(b"2", b"4"), ORDER.replace(b"7", b"8"), NAMED])
def test_another_request_is_another_one(other: bytes) -> None:
    """Whatever of it differs; the same body sent to another call, too."""
    assert hash_of(PlaceOrder, other) != hash_of(PlaceOrder, ORDER)
    assert hash_of(PlaceOrder, ORDER, "POST /elsewhere") != hash_of(PlaceOrder, ORDER)


@pytest.mark.parametrize("raw", HASHES_OF_0_1)
def test_an_order_is_known_by_the_hash_of_the_first_release(raw: bytes) -> None:
    """Its keys are kept for a week; another order is not taken for it."""
    body = PlaceOrder.model_validate_json(raw)
    key = key_of("ann", "k", "POST /orders", body, body.older_hashes)
    assert key is not None
    assert key.is_of(HASHES_OF_0_1[raw])
    assert key.is_of(key.request_hash)
    assert not any(key.is_of(stored) for other, stored in HASHES_OF_0_1.items() if other != raw)


def test_an_order_with_what_the_first_release_did_not_know_is_none_of_its() -> None:
    """The rest of it may be the same; it is another order."""
    assert Later.model_validate_json(ORDER[:-1] + b', "coupon_id": "1"}').older_hashes() == ()
    assert len(Later.model_validate_json(ORDER).older_hashes()) == 1
