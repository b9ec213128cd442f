"""The demo: seven orders and what became of them, each claim checked on a real deployment over REST."""

import secrets
from typing import Any

from common.registry import GATEWAY, ROLLBACK_TOPIC
from halfmessage.mq.port import Console, MessageView, Resolution
from ops.client import Client, Refused, Unreachable
from ops.deployment import Deployment
from ops.runstate import Phase
from ops.story import Teller
from ops.waiting import wait_for
from pay.model import CLAIMED_FOR

PAY_TIMEOUT = 4.0  # seconds
SHORT_TIMES = {  # seconds; as by default, only sooner
    "check_first_after": 1.0,
    "check_interval": 1.0,
    "transaction_deadline": 2.5,
    "sweep_interval": 5.0,
    "sweep_grace": 6.0,  # so that releases are confirmed while the story is told
}
REAL_TIMES = {**SHORT_TIMES, "transaction_deadline": 5.0}  # its servers take a moment over their first order
_CRASH = {"ORDERS_FAILPOINTS": "order.deducted=kill"}
_CRASH_OF_STOCK = {"ORDERS_FAILPOINTS": "stock.deduct_received=kill"}
_CRASH_OF_PAY = {"ORDERS_FAILPOINTS": "refund.asked=kill"}
_LATE = 3.0  # seconds after an order was closed until its money comes
_DISCOUNT = 500  # minor units
_WITHIN = 20.0  # seconds; far longer than anything here takes
_ACCEPTED, _NOT_FOUND, _UNAVAILABLE = 202, 404, 503


class Demo:
    """The stories, told on one running deployment."""

    def __init__(self, deployment: Deployment, goods: list[dict[str, Any]], messages: Console, teller: Teller) -> None:
        """Take a ready deployment, its goods, and what looks at its messages."""
        self._deployment, self._teller = deployment, teller
        self._goods = {g["name"]: g for g in goods}
        self._alice: Client = deployment.client("alice", ["orders"])
        self._admin: Client = deployment.client("demo", ["admin"])
        self._messages = messages
        has_gateway = deployment.plan.gateway is not None
        self._front = GATEWAY.name if has_gateway else "order"
        self._where = " at the gateway" if has_gateway else ""

    def close(self) -> None:
        """Close the connections."""
        for thing in (self._alice, self._admin):
            thing.close()

    def tell_all(self) -> None:
        """Tell every story. Raise `StoryBroken`, `NotInTime` or another `CommandFailed` where one does not hold."""
        for story in (self.paid, self.unpaid, self.short, self.crashed, self.with_coupon, self.paid_late):
            story()

    def paid(self) -> None:
        """Show that an order placed and paid keeps its stock."""
        tell = self._teller
        tell.chapter("An order is placed and paid")
        goods = self._goods["Pour-over coffee maker"]
        before = self._available(goods)
        order = self._place(goods, 2, at=self._front)
        tell.say(f"POST /orders{self._where}: order {order['order_id']}, {_money(order)}, {order['status']}")
        tell.expect(self._available(goods) == before - 2, "its 2 pieces are reserved")
        order = self._alice.post(self._front, f"/orders/{order['order_id']}/pay")
        tell.expect(order["status"] == "paid", "POST /orders/{id}/pay: the order is paid")
        tell.expect(self._available(goods) == before - 2, "its stock stays taken")
        self._show(order["order_id"], goods)

    def unpaid(self) -> None:
        """Show that an order left unpaid is closed by its timeout, and that its stock comes back."""
        tell = self._teller
        tell.chapter("An order is left unpaid")
        goods = self._goods["Merino scarf"]
        before = self._available(goods)
        order = self._place(goods, 3)
        path = f"/orders/{order['order_id']}"
        tell.say(f"POST /orders: order {order['order_id']}, to be paid within {PAY_TIMEOUT:g} s; no payment comes")
        tell.expect(self._available(goods) == before - 3, "its 3 pieces are reserved")
        closed = tell.wait(
            "the timeout message to close the order",
            lambda: order if (order := self._alice.get("order", path))["status"] == "closed" else None,
            within=PAY_TIMEOUT + _WITHIN,
        )
        tell.expect(closed["close_reason"] == "timeout", "the order was closed by its timeout")
        tell.wait("its stock to come back", lambda: self._available(goods) == before, within=_WITHIN)
        tell.expect(self._available(goods) == before, "its 3 pieces are back")
        self._expect_refusal("order-closed", path + "/pay", None, "paying it now is refused")
        self._show(order["order_id"], goods)

    def short(self) -> None:
        """Show that an order for more than there is takes nothing."""
        tell = self._teller
        tell.chapter("An order is refused for want of stock")
        goods = self._goods["Signed print, no. 1 to 10"]
        before = self._available(goods)
        body = {"items": [{"goods_id": goods["goods_id"], "quantity": before + 1}]}
        tell.say(f"POST /orders: {before + 1} pieces, of which there are {before}")
        self._expect_refusal("insufficient-stock", "/orders", body, "the answer is 409 insufficient-stock")
        tell.expect(self._available(goods) == before, "not a piece was taken")
        half = tell.wait(  # which goes on beside the answer
            "its half message to be resolved",
            lambda: view if (view := self._newest_rollback()).resolution else None,
            within=_WITHIN,
        )
        tell.expect(
            half.resolution is Resolution.COMMIT, "its half message was delivered: pay, asked beside stock, lets go"
        )
        self._show(half.message.keys[0], goods)

    def crashed(self) -> None:
        """Show that what a kill leaves open after the deduction is settled by check-back."""
        tell, supervisor = self._teller, self._deployment.supervisor
        tell.chapter("The order process is killed with kill -9 right after the stock was deducted")
        goods = self._goods["Cast iron casserole"]
        before = self._available(goods)
        earlier = self._newest_rollback().message_id
        tell.say("Starting the order process anew with the failpoint order.deducted=kill, for this one start")
        supervisor.restart("order", extra_env=_CRASH)
        tell.wait("the order process to get ready", lambda: self._is_ready("order"), within=_WITHIN)
        doomed = supervisor.pid("order") or 0
        tell.expect(self._place_in_vain(goods, 5), "POST /orders: the connection is cut, no answer")
        supervisor.wait_gone(doomed, within=_WITHIN)
        tell.expect(self._available(goods) == before - 5, f"process {doomed} is gone, but 5 pieces are reserved")
        half = self._newest_rollback()
        order_id = half.message.keys[0]
        tell.expect(half.message_id != earlier, f"its half message is on disk; it names order {order_id}")
        self._teller.ledger(goods, self._level(goods))
        tell.wait("the supervisor to restart the order process", lambda: self._is_ready("order"), within=_WITHIN)
        self._expect_settled(half.message_id, order_id)
        tell.wait("the stock to come back", lambda: self._available(goods) == before, within=_WITHIN)
        tell.expect(self._available(goods) == before, "its 5 pieces are back")
        self._show(order_id, goods)

    def with_coupon(self) -> None:
        """Show that a coupon is held and used with its order, and comes back where stock dies before it reserves."""
        tell, supervisor = self._teller, self._deployment.supervisor
        tell.chapter("Orders with a coupon: one is paid; of the other, stock is killed after the coupon was reserved")
        goods = self._goods["Pour-over coffee maker"]
        coupon = self._new_coupon(goods["currency"])
        order = self._place(goods, 1, coupon)
        tell.say(
            f"POST /orders with coupon_id: order {order['order_id']}, {_money(order)} after {_DISCOUNT / 100:.2f} off"
        )
        tell.expect(self._uses(coupon) == (1, 1, 0), "of the coupon's 2 uses it holds one")
        self._alice.post("order", f"/orders/{order['order_id']}/pay")
        tell.wait("the coupon to hear of the payment", lambda: self._uses(coupon) == (1, 0, 1), within=_WITHIN)
        tell.expect(self._uses(coupon) == (1, 0, 1), "the order is paid: that use is used up")
        before = self._available(goods)
        tell.say("Starting the stock process anew with the failpoint stock.deduct_received=kill, for this one start")
        supervisor.restart("stock", extra_env=_CRASH_OF_STOCK)
        tell.wait("the stock process to get ready", lambda: self._is_ready("stock"), within=_WITHIN)
        doomed = supervisor.pid("stock") or 0
        body = {"items": [{"goods_id": goods["goods_id"], "quantity": 1}], "coupon_id": coupon}
        self._expect_refusal("unavailable", "/orders", body, "POST /orders: 503, nothing was created")
        supervisor.wait_gone(doomed, within=_WITHIN)
        order_id = self._newest_rollback().message.keys[0]
        held = self._admin.get("coupon", f"/reservations/{order_id}")
        tell.expect(held["tx_id"], f"process {doomed} is gone; the coupon was reserved for order {order_id}")
        tell.wait("the stock process to be restarted", lambda: self._is_ready("stock"), within=_WITHIN)
        tell.wait("the coupon's use to come back", lambda: self._uses(coupon) == (1, 0, 1), within=_WITHIN)
        tell.expect(self._uses(coupon) == (1, 0, 1), "its use is free again, once")
        tell.expect(self._available(goods) == before, "not a piece is missing")
        self._show(order_id, goods)

    def paid_late(self) -> None:
        """Show that money that comes after the timeout goes back exactly once, though pay is killed over it."""
        tell, supervisor = self._teller, self._deployment.supervisor
        tell.chapter("An order is paid too late: its money goes back once, though pay is killed as it sends it back")
        goods = self._goods["Merino scarf"]
        before = self._available(goods)
        tell.say("Starting the pay process anew with the failpoint refund.asked=kill, for this one start")
        supervisor.restart("pay", extra_env=_CRASH_OF_PAY)
        tell.wait("the pay process to get ready", lambda: self._is_ready("pay"), within=_WITHIN)
        doomed = supervisor.pid("pay") or 0
        order = self._place(goods, 1)
        order_id, path = order["order_id"], f"/orders/{order['order_id']}"
        scenario = {"provider": "sandbox", "scenario": f"late:{PAY_TIMEOUT + _LATE:.0f}"}
        begun = self._alice.ask("order", "POST", path + "/pay", json_body=scenario)
        tell.expect(begun.status == _ACCEPTED, f"POST /orders/{{id}}/pay: 202, to be paid at {begun.body['pay_url']}")
        tell.wait(
            "the order to be closed", lambda: self._alice.get("order", path)["status"] == "closed", within=_WITHIN
        )
        tell.expect(self._money(order_id) == (0, 0), "no payment came in time: the order is closed")
        tell.wait("the customer to pay all the same", lambda: self._money(order_id)[0] == 1, within=_WITHIN)
        supervisor.wait_gone(doomed, within=_WITHIN)
        tell.say(f"the provider took {_money(order)}; process {doomed} was killed as it had asked for the refund")
        tell.wait("the pay process to be restarted", lambda: self._is_ready("pay"), within=_WITHIN)
        tell.wait(
            "the money to be back",
            lambda: self._alice.get("order", path)["payment"]["status"] == "refunded",
            within=CLAIMED_FOR + _WITHIN,
        )
        tell.expect(self._money(order_id) == (1, 1), "the provider's own books: taken once, sent back once")
        tell.wait("its piece to be back", lambda: self._available(goods) == before, within=_WITHIN)
        tell.expect(self._alice.get("order", path)["status"] == "closed", "the order stays closed")
        self._show(order_id, goods)

    def _money(self, order_id: str) -> tuple[int, int]:
        """Return how often the provider took money for an order, and how often it sent it back, by its own books."""
        sessions: list[dict[str, Any]] = self._admin.get("sandbox", "/ledger", limit="100")["items"]
        taken = [charge for session in sessions if session["payment_id"] == order_id for charge in session["charges"]]
        return len(taken), sum(refund["state"] == "done" for charge in taken for refund in charge["refunds"])

    def _new_coupon(self, currency: str) -> str:
        coupon = {"kind": "amount", "value": _DISCOUNT, "currency": currency, "uses": 2, "uses_per_user": 2}
        return str(self._admin.post("coupon", "/coupons", coupon)["coupon_id"])

    def _uses(self, coupon: str) -> tuple[int, int, int]:
        """Return how many uses of a coupon are free, held and used."""
        seen = self._admin.get("coupon", f"/coupons/{coupon}")
        return int(seen["free"]), int(seen["held"]), int(seen["used"])

    def _expect_settled(self, message_id: str, order_id: str) -> None:
        tell = self._teller
        settled = tell.wait(
            "the broker to ask a living process how the half message ended",
            lambda: next((view for view in self._messages.find(message_id=message_id) if view.resolution), None),
            within=_WITHIN,
        )
        tell.expect(
            settled.resolution is Resolution.COMMIT and settled.check_count,
            f"after {settled.check_count} check-back(s) the rollback was delivered",
        )
        tell.expect(
            self._alice.ask("order", "GET", f"/orders/{order_id}").status == _NOT_FOUND, "the order does not exist"
        )

    def _is_ready(self, name: str) -> bool:
        return any(s.name == name and s.state is Phase.READY for s in self._deployment.supervisor.states())

    def _place(
        self, goods: dict[str, Any], quantity: int, coupon: str | None = None, *, at: str = "order"
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"items": [{"goods_id": goods["goods_id"], "quantity": quantity}]}
        if coupon is not None:
            body["coupon_id"] = coupon
        key = secrets.token_hex(8)

        def placed() -> dict[str, Any] | None:
            """Ask again, with the same key, while a busy machine answers 503: servers that just started are slow."""
            try:
                order: dict[str, Any] = self._alice.post(at, "/orders", body, Idempotency_Key=key)
            except Refused as error:
                if error.http_status != _UNAVAILABLE:
                    raise
                return None
            return order

        return wait_for("an order to be placed", placed, within=_WITHIN)

    def _place_in_vain(self, goods: dict[str, Any], quantity: int) -> bool:
        try:
            self._place(goods, quantity)
        except Unreachable:
            return True
        return False

    def _expect_refusal(self, slug: str, path: str, body: dict[str, Any] | None, what: str) -> None:
        try:
            self._alice.post("order", path, body)
        except Refused as error:
            self._teller.expect(error.problem_slug == slug, what)
        else:
            self._teller.expect(False, what)

    def _level(self, goods: dict[str, Any]) -> dict[str, Any]:
        level: dict[str, Any] = self._admin.get("stock", f"/stock/{goods['goods_id']}")
        return level

    def _available(self, goods: dict[str, Any]) -> int:
        return int(self._level(goods)["available"])

    def _newest_rollback(self) -> MessageView:
        return self._messages.find(topic=ROLLBACK_TOPIC, limit=1)[0]

    def _show(self, order_id: str, goods: dict[str, Any]) -> None:
        answer = self._admin.ask("order", "GET", f"/orders/{order_id}/timeline")
        if answer.status != _NOT_FOUND:  # as of a refused order, where the service can't look at messages
            self._teller.timeline(answer.body)
        if self._deployment.plan.servers is not None:
            self._teller.messages(order_id, self._messages.find(key=order_id))
        self._teller.ledger(goods, self._level(goods))


def _money(order: dict[str, Any]) -> str:
    return f"{order['total_amount'] / 100:.2f} {order['currency']}"
