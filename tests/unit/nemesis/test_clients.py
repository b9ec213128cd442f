"""The clients of random runs: what they send, and what of it they write down."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.drill.nemesis.clients import Shop, Shopper, play
from lab.drill.nemesis.history import Recorder, load
from lab.drill.nemesis.plan import Call, Client, Op, Plan, Step
from ops.client import Answer, Unreachable


class _Service:
    """Answers from a list; None: no answer."""

    def __init__(self, *answers: Answer | None) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, str, Any]] = []

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        self.asked.append((service, method, path, query or headers))
        answer = self._answers.pop(0)
        if answer is None:
            raise Unreachable("no answer: the connection was cut")
        assert json_body is None or path != "/orders" or json_body["receiver"]["name"]
        return answer


def _play(service: _Service, recorder: Recorder, *calls: Call) -> None:
    script = Client("c", [Step(0.0, [call]) for call in calls])
    shopper = Shopper("u", service, Shop(["1", "2"], ["8", "9"], ["order", "order-2"], lambda: 1.5), recorder)
    play(Plan(1, "steady", (1, 1), [script], []), {"c": shopper})


def test_a_client_writes_down_what_it_was_told(tmp_path: Path) -> None:
    """Each call is one line, with the order that it meant, in the file as in memory."""
    service = _Service(
        Answer(201, {"order_id": "7", "status": "created"}, {}),
        Answer(200, {"order_id": "7", "status": "paid"}, {}),
        Answer(201, {"order_id": "7", "status": "created"}, {"idempotency-replayed": "true"}),
        Answer(200, {"items": [], "next_cursor": None}, {}),
        Answer(200, {"goods_id": "2"}, {}),
        Answer(200, {"order_id": "7", "status": "paid"}, {}),
        Answer(200, {"coupon_id": "9"}, {}),
    )
    recorder = Recorder(tmp_path / "history.jsonl")
    placed = Call(Op.PLACE, "c-0", [(1, 3)], coupon=0)
    looks = (
        *(Call(Op.LIST), Call(Op.LEVEL, lines=[(1, 0)]), Call(Op.LOOK, "c-0", instance=1)),
        Call(Op.COUPON, coupon=1),
    )
    _play(service, recorder, placed, Call(Op.PAY, "c-0"), placed, *looks)
    recorder.close()
    assert [asked[:3] for asked in service.asked] == [
        ("order", "POST", "/orders"),
        ("order", "POST", "/orders/7/pay"),
        ("order", "POST", "/orders"),
        ("order", "GET", "/orders"),
        ("stock", "GET", "/stock/2"),
        ("order-2", "GET", "/orders/7"),
        ("coupon", "GET", "/coupons/9"),
    ]
    assert service.asked[0][3] == {"Idempotency-Key": "c-0"}
    first, paid, again, *_ = recorder.entries
    assert first.sent == {
        "items": [{"goods_id": "2", "quantity": 3}],
        "receiver": {"name": "c-0", "phone": "0", "address": "u"},
        "coupon_id": "8",
    }
    assert (first.keyed, first.replayed, again.replayed) == (True, False, True)
    assert (paid.order_id, paid.status, paid.answered) == ("7", 200, 1.5)
    assert load((tmp_path / "history.jsonl").read_text().splitlines()) == recorder.entries
    assert json.loads((tmp_path / "history.jsonl").read_text().splitlines()[0])["label"] == "c-0"


def test_what_is_submitted_is_asked_about_until_its_order_is_told() -> None:
    """By the id of the request; once that tells its order, the order is paid as any other."""
    service = _Service(
        Answer(202, {"request_id": "5", "state": "queued", "order_id": None}, {}),
        Answer(200, {"request_id": "5", "state": "created", "order_id": "7"}, {}),
        Answer(200, {"order_id": "7", "status": "paid"}, {}),
    )
    recorder = Recorder()
    submitted = Call(Op.SUBMIT, "c-0", [(0, 1)])
    asked = Call(Op.ASK, "c-0", instance=1)
    _play(service, recorder, asked, submitted, Call(Op.PAY, "c-0"), asked, Call(Op.PAY, "c-0"))
    assert service.asked == [
        ("order", "POST", "/orders", {"Idempotency-Key": "c-0", "Prefer": "respond-async"}),
        ("order-2", "GET", "/order-requests/5", None),
        ("order", "POST", "/orders/7/pay", None),
    ]
    told = [(entry.op, entry.request_id, entry.order_id, entry.keyed) for entry in recorder.entries]
    assert told == [("submit", None, None, True), ("ask", "5", None, False), ("pay", None, "7", False)]


def test_what_was_never_told_is_not_asked_for() -> None:
    """No answer is written down as such; without an order's id there is nothing to pay."""
    service, recorder = _Service(None), Recorder()
    _play(service, recorder, Call(Op.PLACE, "c-0", [(0, 1)], keyed=False), Call(Op.PAY, "c-0"))
    (entry,) = recorder.entries
    assert (entry.status, entry.answered, entry.why) == (None, None, "no answer: the connection was cut")
    assert service.asked == [("order", "POST", "/orders", {})]


def test_an_order_whose_fate_is_unknown_is_asked_for() -> None:
    """The id that outcome-unknown tells is used like any other."""
    unknown = Answer(503, {"type": "/problems/outcome-unknown", "order_id": "9"}, {})
    service, recorder = _Service(unknown, Answer(404, {"type": "/problems/not-found"}, {})), Recorder()
    _play(service, recorder, Call(Op.PLACE, "c-0", [(0, 1)]), Call(Op.CANCEL, "c-0"))
    assert service.asked[1][2] == "/orders/9/cancel"
    assert recorder.entries[1].slug == "not-found"


def test_a_sale_is_opened_and_closed_by_an_admin_and_bought_in_by_users() -> None:
    """Once it is known; the purchase is asked about as any request, and then paid."""
    request = {"request_id": "5", "state": "queued", "order_id": None}
    users = _Service(
        Answer(202, request, {}),
        Answer(200, {**request, "state": "created", "order_id": "7"}, {}),
        Answer(200, {"order_id": "7", "status": "paid"}, {}),
    )
    admins = _Service(Answer(503, {}, {}), Answer(201, {"sale_id": "60"}, {}), Answer(200, {"sale_id": "60"}, {}))
    recorder = Recorder()
    opening = Call(Op.OPEN_SALE, sale="s", lines=((1, 4),), per_user=2)
    buying, closing = Call(Op.BUY, "c-b", ((1, 2),), sale="s"), Call(Op.CLOSE_SALE, sale="s")
    shop = Shop(("1", "2"), (), ("order",), lambda: 0.0, admins)
    script = Client("c", [Step(0.0, [one]) for one in (
        buying, closing, opening, opening, buying, Call(Op.ASK, "c-b"), Call(Op.PAY, "c-b"), closing
    )])  # fmt: skip
    Shopper("u", users, shop, recorder).play(script)
    assert admins.asked == [
        *[("flash", "POST", "/flash-sales", {"Idempotency-Key": "2-s"})] * 2,
        ("flash", "POST", "/flash-sales/60/close", None),
    ]
    assert [asked[:3] for asked in users.asked] == [
        ("flash", "POST", "/flash-sales/60/orders"),
        ("order", "GET", "/order-requests/5"),
        ("order", "POST", "/orders/7/pay"),
    ]
    bought = next(entry for entry in recorder.entries if entry.op == "buy")
    assert (bought.sale_id, bought.sent, bought.order_id) == ("60", {"quantity": 2}, None)
