"""A run in which every answer is true, to be tampered with."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from lab.drill.nemesis.checker import RULES, check
from lab.drill.nemesis.history import Charge, Count, Coupon, Entry, Final, Level, Owned, Reservation, Use

USER, GOODS, PIECES, PRICE = "u", "1", 100, 50
COUPON = "5"
USES, OF_USER, PERCENT = 4, 3, 10
_CREATED_AT, _EXPIRES_AT, _PAST = "2030-01-01T10:00:00.000Z", "2030-01-01T10:15:00.000Z", "2030-01-01T10:20:00.000Z"


_PAYMENT = {"created": "open", "paid": "succeeded", "closed": "closed", "returned": "refunded"}
_USE = {"created": "held", "paid": "used", "closed": "free", "returned": "free"}


def problem(status: int, slug: str) -> dict[str, Any]:
    return {"type": f"/problems/{slug}", "status": status}


def sent(label: str, quantity: int = 2, *, coupon: bool = False) -> dict[str, Any]:
    return {
        "items": [{"goods_id": GOODS, "quantity": quantity}],
        "receiver": {"name": label, "phone": "0", "address": USER},
    } | ({"coupon_id": COUPON} if coupon else {})


def order(
    order_id: str, label: str, status: str = "created", *, quantity: int = 2, why: str = "", coupon: bool = False
) -> dict[str, Any]:
    whole = PRICE * quantity
    off = whole * PERCENT // 100 if coupon else 0
    return {
        "order_id": order_id,
        "user_id": USER,
        "status": status,
        "close_reason": why or None,
        "items": [{"goods_id": GOODS, "quantity": quantity, "unit_price": PRICE}],
        "receiver": sent(label)["receiver"],
        "coupon_id": COUPON if coupon else None,
        "goods_amount": whole,
        "discount_amount": off,
        "total_amount": whole - off,
        "currency": "EUR",
        "created_at": _CREATED_AT,
        "expires_at": _EXPIRES_AT,
        "paid_at": _PAST if status in {"paid", "returned"} else None,
        "closed_at": _PAST if status == "closed" else None,
        "payment": {"status": _PAYMENT[status]},
    }


def request(request_id: str, state: str = "queued", *, made: str | None = None, slug: str = "") -> dict[str, Any]:
    """Return what an order request shows."""
    told = problem(409, slug) if slug else None
    return {"request_id": request_id, "state": state, "order_id": made, "problem": told}


def order_of_sale(order_id: str, purchase_id: str, status: str = "created", **changed: Any) -> dict[str, Any]:
    """Return an order of one piece that was bought in the sale."""
    shown = order(order_id, "", status, quantity=1, why="cancelled" if status == "closed" else "")
    item = {"goods_id": GOODS, "quantity": 1, "unit_price": SALE_PRICE}
    amounts = {"goods_amount": SALE_PRICE, "total_amount": SALE_PRICE, "receiver": None, "items": [item]}
    return shown | amounts | {"sale_id": SALE, "purchase_id": purchase_id} | changed


def charge(of: dict[str, Any], sent_back: int = 0) -> Charge:
    """Return the money of an order."""
    return Charge(of["order_id"], f"c{of['order_id']}", of["total_amount"], of["currency"], sent_back, sent_back)


@dataclass
class Story:
    """Grows a history and the final state that goes with it."""

    history: list[Entry] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    sales: dict[str, Owned] = field(default_factory=dict)
    counted: Count | None = None
    left: list[str] = field(default_factory=list)
    quiet_after: float | None = 1.0
    level: Level | None = None
    shown: Level | None = None

    def call(self, op: str, label: str = "", **known: Any) -> None:
        """Add a call a second after the last one; `status` None: no answer."""
        at = float(len(self.history))
        answered = None if known.get("status") is None else at + 0.5
        self.history.append(Entry(USER, op, label, "order", at, **{"answered": answered, **known}))

    def place(self, label: str, status: int | None = 201, body: Any = None, **known: Any) -> None:
        """Add an attempt with a key to place an order of two pieces."""
        self.call("place", label, status=status, body=body, **{"sent": sent(label), "keyed": True, **known})

    def submit(self, label: str, request_id: str, **known: Any) -> None:
        """Add an attempt with a key that is answered with 202."""
        more = {"status": 202, "body": request(request_id), "sent": sent(label), "keyed": True, **known}
        self.call("submit", label, **more)

    def buy(self, label: str, status: int | None = 202, body: Any = None, **known: Any) -> None:
        """Add a try to buy a piece in the sale."""
        self.call("buy", label, status=status, body=body, **{"sale_id": SALE, "sent": {"quantity": 1}, **known})

    def bought(self, shown: dict[str, Any]) -> None:
        """Have an order of the sale in the end."""
        self.orders.append(shown)
        if shown["status"] == "paid":
            self.charges.append(charge(shown))

    def ask(self, label: str, request_id: str, **known: Any) -> None:
        """Add a look at a request."""
        self.call("ask", label, **{"request_id": request_id, "status": 200, **known})

    def ends(self, shown: dict[str, Any], *, live: bool | None = None, held: int = 2) -> None:
        """Have an order in the end, with its reservation."""
        self.orders.append(shown)
        live = shown["status"] not in {"closed", "returned"} if live is None else live
        self.reservations.append(Reservation(shown["order_id"], "deducted" if live else "released", {GOODS: held}))
        if shown["status"] in {"paid", "returned"}:
            self.charges.append(charge(shown, sent_back=shown["status"] == "returned"))
        if shown["coupon_id"]:
            self.uses.append(Use(shown["order_id"], COUPON, USER, _USE[shown["status"]]))

    def final(self) -> Final:
        """Return how everything stood in the end; the stock adds up unless it was tampered with."""
        reserved = sum(row.lines[GOODS] for row in self.reservations if row.state == "deducted")
        reserved += sum(sale.owned for sale in self.sales.values())
        level = self.level or Level(PIECES, PIECES - reserved)
        shown = self.shown or level
        held, used = (sum(use.state == state for use in self.uses) for state in ("held", "used"))
        return Final(
            {GOODS: PIECES}, {USER: self.orders}, {GOODS: shown}, {GOODS: level}, self.reservations, self.quiet_after,
            5.0, self.left, {COUPON: Coupon(PERCENT, USES, OF_USER)},
            {COUPON: self.counted or Count(USES - held - used, held, used)}, self.uses, self.untold, self.charges,
            self.requests, self.sales,
        )  # fmt: skip

    def change(self, number: int, **how: Any) -> None:
        """Change a call of the history."""
        self.history[number] = replace(self.history[number], **how)

    def verdict(self) -> list[str]:
        """Return what the checker says of it."""
        return check(self.history, self.final())

    def without(self, name: str) -> list[str]:
        """Return what the checker would say if it had not this rule."""
        return check(self.history, self.final(), [rule for rule in RULES if rule.__name__ != name])


PAID, CANCELLED, REFUSED, UNKNOWN, TAKEN, CUT = "paid", "cancelled", "refused", "unknown", "taken", "cut"
WITH, LATER, GONE, USED_UP, ELSEWHERE = "with", "later", "gone", "used-up", "elsewhere"
SALE, SALE_PRICE, PIECES_OF_SALE = "60", 30, 2
BACK = "back"
BOUGHT, LOST, SOLD_OUT = "bought", "lost", "sold-out"
SOON, TOO_MANY, NO_KEY = "soon", "too-many", "no-key"
FIRST_OF_PAID, REPEAT_OF_PAID, PAY, LOOK, LIST, LEVEL = range(6)


def truth() -> Story:
    """Return a run that shows every kind of true answer."""
    story = Story()
    story.place(PAID, body=order("11", PAID))
    story.place(PAID, body=order("11", PAID), replayed=True)
    story.call("pay", PAID, order_id="11", status=200, body=order("11", PAID, "paid"))
    story.call("look", PAID, order_id="11", status=200, body=order("11", PAID, "paid"))
    story.call("list", status=200, body={"items": [order("11", PAID, "paid")], "next_cursor": None})
    story.call("level", status=200, body={"goods_id": GOODS, "total": PIECES, "available": PIECES - 2})
    story.ends(order("11", PAID, "paid"))
    story.place(CANCELLED, body=order("12", CANCELLED))
    story.call("cancel", CANCELLED, order_id="12", status=200, body=order("12", CANCELLED, "closed", why="cancelled"))
    story.call("pay", CANCELLED, order_id="12", status=409, body=problem(409, "order-closed"))
    story.ends(order("12", CANCELLED, "closed", why="cancelled"))
    story.place(REFUSED, status=503, body=problem(503, "unavailable"))
    story.place(PAID, status=422, body=problem(422, "idempotency-mismatch"), sent=sent(PAID, 3))
    story.place(UNKNOWN, status=503, body={**problem(503, "outcome-unknown"), "order_id": "13"})
    story.ends(order("13", UNKNOWN))
    story.place(TAKEN, status=409, body=problem(409, "insufficient-stock"), sent=sent(TAKEN, PIECES))
    story.place(CUT, status=None)
    story.place(CUT, body=order("14", CUT), replayed=True)
    story.ends(order("14", CUT))
    story.place(WITH, body=order("15", WITH, coupon=True), sent=sent(WITH, coupon=True))
    story.call("coupon", status=200, body={"coupon_id": COUPON, "uses": USES, "free": 3, "held": 1, "used": 0})
    story.call("pay", WITH, order_id="15", status=200, body=order("15", WITH, "paid", coupon=True))
    story.ends(order("15", WITH, "paid", coupon=True))
    story.place(LATER, body=order("16", LATER, coupon=True), sent=sent(LATER, coupon=True))
    story.call("pay", LATER, order_id="16", status=200, body=order("16", LATER, "paid", coupon=True))
    story.ends(order("16", LATER, "paid", coupon=True))
    story.uses[-1] = Use("16", COUPON, USER, "held")
    story.untold = ["16"]
    story.place(GONE, body=order("17", GONE, coupon=True), sent=sent(GONE, coupon=True))
    gone = order("17", GONE, "closed", why="cancelled", coupon=True)
    story.call("cancel", GONE, order_id="17", status=200, body=gone)
    story.ends(gone)
    story.place(USED_UP, status=409, body={**problem(409, "coupon-not-usable"), "reason": "used"},
                sent=sent(USED_UP, coupon=True))  # fmt: skip
    story.place(ELSEWHERE, body=order("18", ELSEWHERE))
    story.call("pay", ELSEWHERE, order_id="18", status=402, body=problem(402, "payment-refused"))
    told = {"order_id": "18", "payment_id": "18", "pay_url": "http://127.0.0.1/page/1"}
    story.call("pay", ELSEWHERE, order_id="18", status=202, body=told)
    late = order("18", ELSEWHERE, "closed", why="timeout")
    late["payment"] = {"status": "refunded"}
    story.ends(late)
    story.charges.append(charge(late, sent_back=1))
    _with_requests(story)
    _with_sales(story)
    _with_returns(story)
    return copy.deepcopy(story)


def _with_returns(story: Story) -> None:
    """Return an order; ask again, pay it, cancel it."""
    with_coupon = {"sent": sent(BACK, coupon=True)}
    story.place(BACK, body=order("29", BACK, coupon=True), **with_coupon)
    story.call("return", BACK, order_id="29", status=409, body=problem(409, "order-not-paid"))
    story.call("pay", BACK, order_id="29", status=200, body=order("29", BACK, "paid", coupon=True))
    for _ in range(2):
        story.call("return", BACK, order_id="29", status=202, body={"order_id": "29", "run_id": "70"})
    story.call("pay", BACK, order_id="29", status=409, body=problem(409, "order-closed"))
    story.call("cancel", BACK, order_id="29", status=409, body=problem(409, "order-paid"))
    story.call("look", BACK, order_id="29", status=200, body=order("29", BACK, "returned", coupon=True))
    story.ends(order("29", BACK, "returned", coupon=True))


def _with_requests(story: Story) -> None:
    story.submit(SOON, "90")
    story.submit(SOON, "90", replayed=True)
    story.ask(SOON, "90", body=request("90"))
    story.ask(SOON, "90", body=request("90", "created", made="19"))
    story.place(SOON, body=order("19", SOON), replayed=True)
    story.ends(order("19", SOON))
    story.submit(TOO_MANY, "91", sent=sent(TOO_MANY, PIECES))
    story.ask(TOO_MANY, "91", body=request("91", "refused", slug="insufficient-stock"))
    story.submit(NO_KEY, "92", keyed=False)
    story.ends(order("10", NO_KEY))
    story.requests |= {
        "90": request("90", "created", made="19"),
        "91": request("91", "refused", slug="insufficient-stock"),
        "92": request("92", "created", made="10"),
    }


def _with_sales(story: Story) -> None:
    terms = {"goods_id": GOODS, "quantity": PIECES_OF_SALE, "unit_price": SALE_PRICE, "per_user": 2}
    for replayed in (False, True):
        opened = {"status": 201, "body": {**terms, "sale_id": SALE}, "sent": terms}
        story.call("open-sale", "sale-0", replayed=replayed, **opened)
    story.sales[SALE] = Owned(GOODS, PIECES_OF_SALE)
    story.buy(BOUGHT, body=request("95"))
    story.ask(BOUGHT, "95", body=request("95", "created", made="51"))
    story.call("pay", BOUGHT, order_id="51", status=200, body=order_of_sale("51", "95", "paid"))
    story.bought(order_of_sale("51", "95", "paid"))
    story.buy("twice", body=request("96"))
    story.call("cancel", "twice", order_id="52", status=200, body=order_of_sale("52", "96", "closed"))
    story.bought(order_of_sale("52", "96", "closed"))
    story.buy(LOST, status=None)
    story.bought(order_of_sale("53", "97"))
    story.buy("forgotten", body=request("98"))
    story.buy(SOLD_OUT, status=409, body=problem(409, "sold-out"))
    story.call("close-sale", "sale-0", sale_id=SALE, status=200, body={"sale_id": SALE})
    story.requests |= {
        "95": request("95", "created", made="51"),
        "96": request("96", "created", made="52"),
        "98": request("98", "refused", slug="sold-out"),
    }
