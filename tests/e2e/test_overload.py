"""More than can be served: who is let in is served, the others are told so at once, and then all is as before."""

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pytest

from ops.client import Answer
from tests.e2e.shop import Shop, pay, place, placed, slug, status_of
from tests.support import eventually

pytestmark = pytest.mark.e2e

INSIDE, CLIENTS = 12, 40


def test_more_than_fit_are_refused_while_the_others_wait(shop: Shop) -> None:
    """Stock is slow: so many wait for it as may, the rest gets 503 and Retry-After before any of them is answered."""
    tea, users = shop.goods(stock=1000), [shop.user() for _ in range(CLIENTS)]
    with (
        shop.settings("order", placing_queue=INSIDE, threads=4, peer_timeout=20, transaction_deadline=60),
        shop.settings("stock", failpoints="stock.deducted=delay:3"),
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        gate = threading.Barrier(CLIENTS)

        def order(number: int) -> Answer:
            gate.wait()
            return place(users[number], {tea: 1})

        calls = {pool.submit(order, number) for number in range(CLIENTS)}
        refused = _answered(calls, CLIENTS - INSIDE)
        assert {(answer.status, slug(answer), answer.headers["retry-after"]) for answer in refused} == {
            (503, "unavailable", "1")
        }
        assert shop.raw("order", "GET", "/orders", headers=shop.bearer()).status == 200  # reading goes on meanwhile
        accepted = _answered(calls, INSIDE)
        assert {answer.status for answer in accepted} == {201}
    assert shop.available(tea) == 1000 - INSIDE
    assert sorted(status_of(shop.admin, a.body["order_id"]) for a in accepted) == ["created"] * INSIDE
    again = placed(users[0], {tea: 1})
    assert pay(users[0], again["order_id"]).status == 200
    shop.assert_sound()


def _answered(calls: set["Future[Answer]"], number: int) -> list[Answer]:
    """Return the next answers; take them out of `calls`."""
    answers: list[Answer] = []
    while len(answers) < number:
        done, _ = wait(calls, timeout=60, return_when=FIRST_COMPLETED)
        assert done, "no answer"
        calls -= done
        answers += [future.result() for future in done]
    assert len(answers) == number, [answer.status for answer in answers]
    return answers


def test_as_many_as_fit_are_all_served(shop: Shop) -> None:
    """As many clients as may be inside, each of which comes again as soon as it is answered: none is refused."""
    tea, users = shop.goods(stock=1000), [shop.user() for _ in range(INSIDE)]
    with shop.settings("order", placing_queue=INSIDE, peer_timeout=20), ThreadPoolExecutor(INSIDE) as pool:
        answers = pool.map(lambda user: [place(user, {tea: 1}).status for _ in range(5)], users)
        assert {status for statuses in answers for status in statuses} == {201}
    shop.assert_sound()


def test_an_idle_connection_keeps_no_client_out(shop: Shop) -> None:
    """More connections are kept than requests can be worked on: a further client is answered all the same."""
    with shop.settings("goods", threads=2):
        kept = [shop.user() for _ in range(40)]
        for client in kept:
            assert client.ask("goods", "GET", "/goods").status == 200
        assert eventually(lambda: shop.raw("goods", "GET", "/healthz").status == 200)
