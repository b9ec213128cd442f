"""Limits that are settings: how often a user may order, how large a body may be; and connections that are kept."""

import http.client
from contextlib import closing
from functools import partial

import pytest

from tests.e2e.shop import Shop, at_once, place, placed, slug
from tests.support import eventually

pytestmark = pytest.mark.e2e


def test_who_orders_too_often_has_to_wait(shop: Shop) -> None:
    """Past the limit: 429 with Retry-After, nothing created; others are not concerned, nor is reading."""
    user, other, tea = shop.user(), shop.user(), shop.goods(stock=100)
    with shop.settings("order", rate_limit="5/2 second"):
        answers = at_once([partial(place, user, {tea: 1})] * 12)
        made = [a for a in answers if a.status == 201]
        refused = [a for a in answers if a.status == 429]
        assert len(made) + len(refused) == 12
        assert 5 <= len(made) <= 10  # a window may end in between
        assert {slug(a) for a in refused} == {"too-many-requests"}
        assert all(1 <= int(a.headers["retry-after"]) <= 2 for a in refused)
        assert len(user.get("order", "/orders")["items"]) == len(made)
        placed(other, {tea: 1})
        eventually(lambda: place(user, {tea: 1}).status == 201)
    shop.assert_sound()


def test_the_largest_body_is_a_setting(shop: Shop) -> None:
    """One byte more than ORDERS_MAX_BODY is 413; exactly that much is read."""
    headers = shop.bearer(scopes=("admin",)) | {"Content-Type": "application/json"}
    body = b'{"name": "Tea", "unit_price": 1, "currency": "EUR"}'
    with shop.settings("goods", max_body=1024):
        assert shop.raw("goods", "POST", "/goods", body=body.ljust(1024), headers=headers).status == 201
        answer = shop.raw("goods", "POST", "/goods", body=body.ljust(1025), headers=headers)
        assert (answer.status, slug(answer)) == (413, "too-large")


@pytest.mark.parametrize("size", [30, 70_000, 1_000_000])
@pytest.mark.parametrize("status", [201, 400, 401, 403, 404, 405, 413, 415])
def test_an_answer_before_the_end_of_the_body_does_not_cut_the_next_request(shop: Shop, status: int, size: int) -> None:
    """A kept connection either takes the next request or said before that it will not (Connection: close)."""
    if (size > 64 * 1024 and status in {201, 400}) or (size < 64 * 1024 and status == 413):
        return
    good = b'{"name": "Tea", "unit_price": 1, "currency": "EUR"}'
    headers = shop.bearer(scopes=("orders",) if status == 403 else ("admin",))
    if status == 401:
        headers = {}
    headers["Content-Type"] = "text/plain" if status == 415 else "application/json"
    path = "/nothing" if status == 404 else "/goods"
    body = good if status == 201 else b"x" * size
    for _ in range(8):
        with closing(http.client.HTTPConnection("127.0.0.1", shop.deployment.plan.ports["goods"], timeout=10)) as line:
            try:
                line.request("DELETE" if status == 405 else "POST", path, body=body, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                assert size > 500_000  # no megabyte is read of a client without a token
                continue
            answer = line.getresponse()
            answer.read()
            assert answer.status == status
            if answer.getheader("Connection") != "close":
                line.request("GET", "/healthz")
                assert line.getresponse().status == 200
