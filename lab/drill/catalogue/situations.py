"""How a process comes to each failpoint, and what must be left after a kill there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from common.config import Settings
from common.registry import PARTICIPANTS
from lab.drill import pending
from lab.drill.drill_run import Broken, DrillRun
from ops.client import Answer, Unreachable
from pay.model import CLAIMED_FOR

Statuses = tuple[str, ...]
_FLASH = "flash"
_GIVEN_UP_AFTER = Settings.model_fields["sweep_grace"].default  # seconds, of a sale that is being opened
_RETURN_LEASE = 11.0  # seconds: 2 × ORDERS_PEER_TIMEOUT + 6, see order/returns.py, and until the next look
_CREATED, _ACCEPTED, _UNAVAILABLE, _OK = 201, 202, 503, 200


@dataclass(frozen=True, slots=True)
class Situation:
    """One way through the protocol.

    `service` is the one whose failpoints are in `left`: what a kill of itself there leaves, as statuses of the
    client's orders. `told` is the HTTP status that the client gets then (None: the connection is cut), unless the
    point is one of `after_the_answer`, which go on beside it: then it may also get what it gets without the kill.
    `lease`: for how long what a killed process had claimed is left alone (seconds). `also` is what else is armed.
    `left_otherwise` says by the client's answer what must be left when the other service is killed.
    """

    service: str
    holds: str
    left: Mapping[str, Statuses]
    act: Callable[[DrillRun, Any], Answer | None]
    left_otherwise: Callable[[Answer | None], Statuses]
    told: int | None = None
    after_the_answer: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[DrillRun], Any] = lambda _: None
    finish: Callable[[DrillRun, Any], None] = lambda *_: None
    also: str = ""
    lease: float = 0.0
    settings: Mapping[str, float] = field(default_factory=dict)

    def told_when_killed(self, run: DrillRun, point: str, answer: Answer | None) -> None:
        """Hold that the client was told what is true when the process itself dies. Raise `Broken`."""
        told = answer.status if answer else None
        expected = told if told is not None and told == self.after_the_answer.get(point) else self.told
        run.same("HTTP status of the answer", told, expected)


def _truthful(answer: Answer | None) -> Statuses:
    """Return what an answer to POST /orders promises; one that never came was killed before its commit here."""
    if answer is None or answer.status == _UNAVAILABLE:
        return ()
    if answer.status == _CREATED:
        return ("created",)
    raise Broken(f"An order was neither accepted nor refused as unavailable: {answer.status}.")


def _changed(status: str) -> Callable[[Answer | None], Statuses]:
    def left(answer: Answer | None) -> Statuses:
        """Take no answer where order was killed after its move and before it answered: the message was faster."""
        if answer is not None and answer.status != _OK:
            raise Broken(f"The order service was to answer {_OK}, but its answer was {answer.status}.")
        return (status,)

    return left


def _place(run: DrillRun, _: object) -> Answer | None:
    return run.place()


def _submit(run: DrillRun, _: object) -> Answer | None:
    return run.submit()


def _taken_in(answer: Answer | None) -> Statuses:
    """Return what an answer to an order that is to be placed soon promises."""
    if answer is None or answer.status == _UNAVAILABLE:
        return ()
    if answer.status == _ACCEPTED:
        return ("created",)
    raise Broken(f"An order was neither taken in nor refused as unavailable: {answer.status}.")


def _placed(run: DrillRun) -> str:
    return run.placed()


def _cancel(run: DrillRun, order_id: str) -> Answer | None:
    return run.change(order_id, "cancel")


def _buy(run: DrillRun, _: object) -> Answer | None:
    return run.buy()


def _open_sale(run: DrillRun, _: object) -> Answer | None:
    return run.open_sale()


def _close_sale(run: DrillRun, _: object) -> Answer | None:
    return run.close_sales()


def _close_what_was_opened(run: DrillRun, _: object) -> None:
    run.close_sales()


def _pay(run: DrillRun, order_id: str) -> Answer | None:
    return run.change(order_id, "pay")


def _pay_by_callback(run: DrillRun, order_id: str) -> Answer | None:
    return run.change(order_id, "pay", {"provider": "sandbox", "scenario": "callback"})


def _wait_until_paid(run: DrillRun, order_id: str) -> None:
    run.wait("the order to be paid", lambda: run.shown(order_id)["status"] == "paid")


def _cancel_before_the_money(run: DrillRun, order_id: str) -> Answer | None:
    """Cancel an order whose money is to come two seconds later."""
    run.change(order_id, "pay", {"provider": "sandbox", "scenario": "late:2"})
    return run.change(order_id, "cancel")


def _wait_until_refunded(run: DrillRun, order_id: str) -> None:
    def is_refunded() -> bool:
        payment = run.shown(order_id)["payment"]
        return bool(payment and payment["status"] == "refunded")

    run.wait("the money to go back", is_refunded, within=CLAIMED_FOR + run.limit)


def _pay_again(run: DrillRun, order_id: str) -> None:
    again = run.change(order_id, "pay")
    run.claim("paying again is answered with the same payment", again and again.body.get("status") == "paid")


def _paid(run: DrillRun) -> str:
    """Place and pay an order with a coupon: everything that goes back of a return is held or used by it."""
    run.needing("coupon")
    order_id = run.placed()
    run.change(order_id, "pay")
    _wait_until_paid(run, order_id)
    return order_id


def _give_back(run: DrillRun, order_id: str) -> Answer | None:
    return run.change(order_id, "return", {"reason": "broken"})


def _placed_needing(run: DrillRun, participant: str) -> str:
    run.needing(participant)
    return run.placed()


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A reservation at a participant that no order will ever stand for."""

    participant: str
    order_id: str

    @classmethod
    def at(cls, participant: str) -> Callable[[DrillRun], "_Orphan"]:
        def make(run: DrillRun) -> _Orphan:
            run.wait("all orders before it to be told of", lambda: _swept_clean(run))
            if participant == _FLASH:
                run.needing(participant)
            order_id = run.order_id = run.sut.orphan(participant, run.goods_id, run.sale_id)
            run.say(f"{participant} is taken for order {order_id}, whose coordinator is gone for good")
            return cls(participant, order_id)

        return make

    def is_released(self, run: DrillRun) -> bool:
        found = run.sut.admin.get(self.participant, f"/reservations/{self.order_id}")
        return bool(found["state"] == "released")


def _swept_clean(run: DrillRun) -> bool:
    """Sweep once more what earlier drills left; tell whether the next sweep has nothing to tell a participant.

    A process that is to be killed over an orphan would be killed over that, and the orphan be too young for a sweep.
    """
    run.sut.admin.post("order", "/sweep")
    return not pending.untold(run.sut.deployment)


def _sweep_until_it_ends(run: DrillRun, orphan: _Orphan) -> Answer | None:
    """Sweep until the orphan is old enough to be dealt with, or the sweep fails."""

    def look() -> bool:
        try:
            return run.sut.admin.ask("order", "POST", "/sweep").status == _UNAVAILABLE or orphan.is_released(run)
        except Unreachable:
            return True

    run.wait("the sweep to come to the orphan", look)
    return None


def _sweep_again(run: DrillRun, orphan: _Orphan) -> None:
    run.sut.admin.post("order", "/sweep")
    run.claim(f"after another sweep the orphan's {orphan.participant} is released", orphan.is_released(run))


_PLACING = Situation(
    "order",
    "the order stands with its stock, or never was and its stock is back",
    {
        "order.half_sent": (),
        "order.timeout_scheduled": (),
        "order.deducted": (),
        "order.before_commit": (),
        "order.committed": ("created",),
        "order.before_resolve": ("created",),
        "order.resolved": ("created",),
    },
    _place,
    _truthful,
    after_the_answer={"order.before_resolve": _CREATED, "order.resolved": _CREATED},
)
_SUBMITTING = Situation(
    "order",
    "what was taken in becomes one order, and nothing else does",
    {
        "request.half_sent": (),
        "request.before_commit": (),
        "request.committed": ("created",),
        "request.before_resolve": ("created",),
        "request.resolved": ("created",),
    },
    _submit,
    _taken_in,
    after_the_answer={"request.before_resolve": _ACCEPTED, "request.resolved": _ACCEPTED},
)
_WORKING_OFF = Situation(
    "order",
    "the request comes again, and is one order",
    dict.fromkeys(("request.received", "request.handled"), ("created",)),
    _submit,
    _taken_in,
    after_the_answer=dict.fromkeys(("request.received", "request.handled"), _ACCEPTED),
)
_CANCELLING = Situation(
    "order",
    "the order is open with its stock, or closed with its stock back",
    {
        "close.half_sent": ("created",),
        "close.before_commit": ("created",),
        "close.committed": ("closed",),
        "close.before_resolve": ("closed",),
        "close.resolved": ("closed",),
    },
    _cancel,
    _changed("closed"),
    prepare=_placed,
)
_PAYING = Situation(
    "order",
    "a payment that was committed stands, asked again it is the same",
    {"paying.committed": ("paid",)},
    _pay,
    _changed("paid"),
    prepare=_placed,
    finish=_pay_again,
)
_HEARING_OF_PAYMENT = Situation(
    "order",
    "the payment is told again, and pays the order once",
    dict.fromkeys(("payment.received", "payment.handled"), ("paid",)),
    _pay_by_callback,
    lambda _: ("paid",),
    told=_ACCEPTED,
    prepare=_placed,
    finish=_wait_until_paid,
)
_TRYING_TO_PAY = Situation(
    "pay",
    "the customer is told to try again, and does: the money is taken once, and pays the order",
    dict.fromkeys(
        (
            *("attempt.stored", "attempt.begun", "event.stored"),
            *("success.half_sent", "success.before_commit", "success.committed", "success.before_resolve"),
            "success.resolved",
        ),
        ("paid",),
    ),
    _pay,
    lambda _: ("paid",),
    told=_UNAVAILABLE,
    after_the_answer=dict.fromkeys(("success.before_resolve", "success.resolved"), _OK),
    prepare=_placed,
    finish=_pay_again,
)
_SENDING_BACK = Situation(
    "pay",
    "money that came for a closed order goes back once",
    dict.fromkeys(("event.handled", "refund.asked", "refund.stored"), ("closed",)),
    _cancel_before_the_money,
    _changed("closed"),
    told=_OK,
    prepare=_placed,
    finish=_wait_until_refunded,
    lease=CLAIMED_FOR,
)
_OF_THE_SAGA = tuple(f"return.{step}" for step in ("claimed", "answered", "before_commit", "recorded", "put_off"))
_GIVING_BACK = Situation(
    "order",
    "the return goes on: money, pieces and coupon are back, each once",
    dict.fromkeys(("return.started", *_OF_THE_SAGA), ("returned",)),
    _give_back,
    lambda _: ("returned",),
    after_the_answer=dict.fromkeys(_OF_THE_SAGA, _ACCEPTED),
    prepare=_paid,
    lease=_RETURN_LEASE,
)
_TIMING_OUT = Situation(
    "order",
    "the timeout comes again, the order is closed once and its stock comes back once",
    dict.fromkeys(("timeout.received", "timeout.handled"), ("closed",)),
    _place,
    lambda _: ("closed",),
    told=_CREATED,
    settings={"pay_timeout": 1.0},
)
_CHECKING = Situation(
    "order",
    "the check-back is asked again and answered the same",
    dict.fromkeys(("check.received", "check.fenced"), ()),
    _place,
    _truthful,
    after_the_answer=dict.fromkeys(("check.received", "check.fenced"), _UNAVAILABLE),
    also="order.deducted=raise;",
)
_SWEEPING = Situation(
    "order",
    "a sweep that died half-way is finished by the next one",
    {"sweep.fenced": (), "sweep.settled": ()},
    _sweep_until_it_ends,
    lambda _: (),
    prepare=_Orphan.at("stock"),
    finish=_sweep_again,
)


_NEEDING_FLASH = partial(DrillRun.needing, participant=_FLASH)
_BUYING = Situation(
    _FLASH,
    "what was taken in becomes one order out of the sale's pieces, and nothing else does",
    {
        "purchase.half_sent": (),
        "purchase.before_commit": (),
        "purchase.committed": ("created",),
        "purchase.before_resolve": ("created",),
        "purchase.resolved": ("created",),
    },
    _buy,
    _taken_in,
    prepare=_NEEDING_FLASH,
)
_CHECKING_PURCHASES = Situation(
    _FLASH,
    "the check-back is asked again and answered the same, nothing was bought",
    dict.fromkeys(("purchase_check.received", "purchase_check.fenced"), ()),
    _buy,
    _taken_in,
    after_the_answer=dict.fromkeys(("purchase_check.received", "purchase_check.fenced"), _UNAVAILABLE),
    prepare=_NEEDING_FLASH,
    also="purchase.half_sent=raise;",
)
_SELLING = Situation(
    "order",
    "the purchase comes again, and is one order",
    dict.fromkeys(("selling.received", "selling.handled"), ("created",)),
    _buy,
    _taken_in,
    told=_ACCEPTED,
    prepare=_NEEDING_FLASH,
)
_OPENING_A_SALE = Situation(
    _FLASH,
    "the sale stands with its pieces, or stock has them all",
    dict.fromkeys(("sale.allotted", "sale.opened"), ()),
    _open_sale,
    lambda _: (),
    finish=_close_what_was_opened,
    lease=_GIVEN_UP_AFTER,
)
_CLOSING_A_SALE = Situation(
    _FLASH,
    "the sale is over, and its pieces are back at stock once",
    {"sale.closed": ()},
    _close_sale,
    lambda _: (),
    prepare=_NEEDING_FLASH,
    finish=_close_what_was_opened,
)
_RETURNING = Situation(
    _FLASH,
    "the pieces of a closed order come back to the sale once",
    dict.fromkeys(("sale.returned", "sale.given_back"), ("closed",)),
    _cancel,
    _changed("closed"),
    told=_OK,
    prepare=partial(_placed_needing, participant=_FLASH),
)


def _deducting(participant: str) -> Situation:
    return Situation(
        participant,
        "the client hears that nothing was created, and that is true: what was taken comes back",
        dict.fromkeys((f"{participant}.{step}" for step in ("deduct_received", "before_commit", "deducted")), ()),
        _place,
        _truthful,
        told=_UNAVAILABLE,
        prepare=partial(DrillRun.needing, participant=participant),
    )


_DEDUCTING_A_PURCHASE = Situation(
    _FLASH,
    "the order is tried again, and is one: its pieces are held once",
    dict.fromkeys((f"{_FLASH}.{step}" for step in ("deduct_received", "before_commit", "deducted")), ("created",)),
    _buy,
    _taken_in,
    told=_ACCEPTED,
    prepare=_NEEDING_FLASH,
)


def _rolling_back(participant: str) -> Situation:
    return Situation(
        participant,
        f"the rollback comes again and gives what is held at {participant} back once",
        dict.fromkeys((f"{participant}.rollback_received", f"{participant}.released"), ("closed",)),
        _cancel,
        _changed("closed"),
        told=_OK,
        prepare=partial(_placed_needing, participant=participant),
    )


def _swept(participant: str) -> Situation:
    left = {f"{participant}.settled": ()}
    return replace(_SWEEPING, service=participant, left=left, prepare=_Orphan.at(participant))


SITUATIONS = (
    _PLACING,
    *(_deducting(participant) for participant in PARTICIPANTS if participant != _FLASH),
    _DEDUCTING_A_PURCHASE,
    _SUBMITTING,
    _WORKING_OFF,
    _CANCELLING,
    _PAYING,
    _HEARING_OF_PAYMENT,
    _TRYING_TO_PAY,
    _SENDING_BACK,
    _GIVING_BACK,
    _TIMING_OUT,
    _CHECKING,
    *map(_rolling_back, PARTICIPANTS),
    _SWEEPING,
    *map(_swept, PARTICIPANTS),
    _BUYING,
    _CHECKING_PURCHASES,
    _SELLING,
    _OPENING_A_SALE,
    _CLOSING_A_SALE,
    _RETURNING,
)
