"""The checker of random runs, on made-up histories: one for each lie that it must catch."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from lab.drill.nemesis.checker import RULES, check
from lab.drill.nemesis.history import Charge, Count, Final, Level, Reservation, Use, load
from tests.unit.nemesis import lies_of_sales
from tests.unit.nemesis.story import (
    BACK,
    CANCELLED,
    COUPON,
    CUT,
    FIRST_OF_PAID,
    GOODS,
    LEVEL,
    LIST,
    LOOK,
    NO_KEY,
    OF_USER,
    PAID,
    PAY,
    PIECES,
    PRICE,
    REFUSED,
    REPEAT_OF_PAID,
    SOON,
    TOO_MANY,
    USED_UP,
    USER,
    USES,
    Story,
    order,
    problem,
    request,
    sent,
    truth,
)

Lie = Callable[[Story], object]


def _acknowledged_and_gone(story: Story) -> None:
    story.place("new", body=order("20", "new"))


def _changed_since(story: Story) -> None:
    story.orders[0]["receiver"]["phone"] = "1"


def _not_as_asked(story: Story) -> None:
    story.place("new", body=order("20", "new"), sent={**sent("new"), "receiver": {"name": "new"}})
    story.ends(order("20", "new"))


def _wrong_sum(story: Story) -> None:
    wrong = {**order("20", "new"), "total_amount": 1}
    story.place("new", body=wrong)
    story.ends(wrong)


def _created_all_the_same(story: Story) -> None:
    story.ends(order("20", REFUSED))


def _short_and_created(story: Story) -> None:
    story.place("new", status=409, body=problem(409, "insufficient-stock"), sent=sent("new", 999))
    story.ends(order("20", "new"))


def _no_client_asked(story: Story) -> None:
    story.ends(order("20", "new"))


def _without_key_twice(story: Story) -> None:
    story.place("new", body=order("20", "new"), keyed=False)
    story.ends(order("20", "new"))
    story.ends(order("21", "new"))


def _other_content(story: Story) -> None:
    story.place("new", status=None)
    story.ends(order("20", "new", quantity=3), held=3)


def _other_id_than_told(story: Story) -> None:
    story.place("new", status=503, body={**problem(503, "outcome-unknown"), "order_id": "20"})
    story.ends(order("21", "new"))


def _two_orders_of_one_key(story: Story) -> None:
    story.place("new", body=order("20", "new"))
    story.place("new", status=None)
    story.ends(order("20", "new"))
    story.ends(order("21", "new"))


def _repeat_of_nothing(story: Story) -> None:
    story.place("new", body=order("20", "new"), replayed=True)
    story.place("new", body=order("20", "new"))
    story.ends(order("20", "new"))


def _never_short(story: Story) -> None:
    others = [entry for entry in story.history if entry.status != 409 or entry.op != "place"]
    story.history[:] = [entry for entry in others if entry.label != TOO_MANY]
    story.place("new", status=409, body=problem(409, "insufficient-stock"))


def _told(story: Story, op: str, told: str, final: str, why: str = "") -> None:
    """Have an order that an answer said something of, and that ends as something else."""
    story.place("new", body=order("20", "new"))
    story.call(op, "new", order_id="20", status=200, body=order("20", "new", told, why="timeout"))
    story.ends(order("20", "new", final, why=why))


def _paid_by_a_refusal_and_closed(story: Story) -> None:
    story.place("new", body=order("20", "new"))
    story.call("cancel", "new", order_id="20", status=409, body=problem(409, "order-paid"))
    story.ends(order("20", "new", "closed", why="timeout"))


def _pay_shows_it_open(story: Story) -> None:
    story.place("new", body=order("20", "new"))
    story.call("pay", "new", order_id="20", status=200, body=order("20", "new"))
    story.ends(order("20", "new", "paid"))


def _answers_with_another_order(story: Story) -> None:
    story.change(LOOK, body=order("99", PAID, "paid"))


def _seen_open_again(story: Story) -> None:
    story.change(LOOK, body=order("11", PAID))


def _listed_open_again(story: Story) -> None:
    story.change(LIST, body={"items": [order("11", PAID)], "next_cursor": None})


def _refused_as_closed_while_paid(story: Story) -> None:
    story.change(PAY, body=problem(409, "order-closed"), status=409)
    story.history.pop(LOOK)
    story.history.pop(LIST - 1)


def _not_found(story: Story) -> None:
    story.call("look", PAID, order_id="11", status=404, body=problem(404, "not-found"))


def _missing_in_the_list(story: Story) -> None:
    story.change(LIST, body={"items": [], "next_cursor": None})


def _ends_as(status: str, why: str = "", closed_at: str = "") -> Lie:
    def lie(story: Story) -> None:
        story.place("new", body=order("20", "new"))
        story.ends({**order("20", "new", status, why=why), **({"closed_at": closed_at} if closed_at else {})})

    return lie


def _one_piece_more(story: Story) -> None:
    story.level = Level(PIECES, PIECES - 5)


def _below_zero(story: Story) -> None:
    story.ends(order("20", "new", quantity=PIECES), held=PIECES)
    story.place("new", body=order("20", "new", quantity=PIECES), sent=sent("new", PIECES))


def _total_changed(story: Story) -> None:
    story.level = Level(PIECES + 1, PIECES + 1 - 6)


def _shown_otherwise(story: Story) -> None:
    story.shown = Level(PIECES, PIECES)


def _level(total: int, available: int) -> Lie:
    return lambda story: story.change(LEVEL, body={"goods_id": GOODS, "total": total, "available": available})


def _reserved(number: int, *rows: Reservation) -> Lie:
    def lie(story: Story) -> None:
        story.reservations[number : number + 1] = rows

    return lie


def _left(story: Story) -> None:
    story.left = ["order_rollback 1 of 11 is half"]


def _quiet_after(seconds: float | None) -> Lie:
    def lie(story: Story) -> None:
        story.quiet_after = seconds

    return lie


def _coupon_shown(free: int, held: int, used: int) -> Lie:
    def lie(story: Story) -> None:
        body = {"coupon_id": COUPON, "uses": USES, "free": free, "held": held, "used": used}
        story.call("coupon", status=200, body=body)

    return lie


def _without_its_coupon(story: Story) -> None:
    story.place("new", status=None)
    story.place("new", body=order("20", "new"), sent=sent("new", coupon=True), replayed=True)
    story.ends(order("20", "new"))


def _with_a_coupon_unasked(story: Story) -> None:
    story.place("new", status=None)
    story.ends(order("20", "new", coupon=True))


def _at_the_full_price(story: Story) -> None:
    wrong = {**order("20", "new", coupon=True), "discount_amount": 0, "total_amount": 2 * PRICE}
    story.place("new", body=wrong, sent=sent("new", coupon=True))
    story.ends(wrong)


def _counted_otherwise(story: Story) -> None:
    story.counted = Count(USES, 0, 0)


def _too_many_of_one_user(story: Story) -> None:
    for number in range(20, 20 + OF_USER - 1):
        story.place(f"new-{number}", body=order(f"{number}", f"new-{number}", coupon=True),
                    sent=sent(f"new-{number}", coupon=True))  # fmt: skip
        story.ends(order(f"{number}", f"new-{number}", coupon=True))


def _use(order_id: str, state: str | None, *, user: str = USER, coupon: str = COUPON) -> Lie:
    """Have another use of an order than it should have; None: none."""

    def lie(story: Story) -> None:
        story.uses = [use for use in story.uses if use.order_id != order_id]
        if state:
            story.uses.append(Use(order_id, coupon, user, state))

    return lie


def _told_meanwhile(story: Story) -> None:
    story.untold = []


def _refused(reason: str) -> Lie:
    def lie(story: Story) -> None:
        body = {**problem(409, "coupon-not-usable"), "reason": reason}
        story.place("new", status=409, body=body, sent=sent("new", coupon=True))

    return lie


def _not_used_up(story: Story) -> None:
    entries = [entry for entry in story.history if entry.label == USED_UP]
    story.history[:] = [
        *[replace(entry, invoked=-1.0, answered=-0.5) for entry in entries],
        *(one for one in story.history if one not in entries),
    ]


def _charged(order_id: str, **how: Any) -> Lie:
    """Have the provider's books say something else of an order's money."""

    def lie(story: Story) -> None:
        story.charges[:] = [replace(one, **how) if one.order_id == order_id else one for one in story.charges]

    return lie


def _payment_shown(order_id: str, status: str) -> Lie:
    def lie(story: Story) -> None:
        (shown,) = (order for order in story.orders if order["order_id"] == order_id)
        shown["payment"] = {"status": status}

    return lie


def _sent_to(story: Story, **how: Any) -> None:
    (number,) = (n for n, entry in enumerate(story.history) if entry.op == "pay" and entry.status == 202)
    story.change(number, body={**story.history[number].body, **how})


def _request_ends(request_id: str, *gone: str, **how: Any) -> Lie:
    """Have a request that got a 202 end otherwise; an order that is `gone` with it is nowhere."""

    def lie(story: Story) -> None:
        story.requests[request_id] = request(request_id, **how)
        story.orders[:] = [one for one in story.orders if one["order_id"] not in gone]
        story.reservations[:] = [one for one in story.reservations if one.order_id not in gone]

    return lie


def _request_lost(story: Story) -> None:
    _request_ends("92", "10", state="queued")(story)
    del story.requests["92"]


def _refused_and_made(story: Story) -> None:
    story.submit("new", "93", keyed=False, sent=sent("new", PIECES))
    story.requests["93"] = request("93", "refused", slug="insufficient-stock")
    story.ends(order("20", "new", quantity=1), held=1)


def _twice_taken_in(story: Story) -> None:
    story.submit(SOON, "93", replayed=True)
    story.requests["93"] = request("93", "created", made="19")


def _without_key_once(story: Story) -> None:
    story.submit(NO_KEY, "92", keyed=False)


def _both_taken_in_first(story: Story) -> None:
    story.submit(SOON, "90")


def _made_what_no_client_submitted(story: Story) -> None:
    story.requests["92"] = request("92", "created", made="14")


def _told_and_changed(story: Story) -> None:
    story.ask(TOO_MANY, "91", body=request("91", "refused", slug="expired"))


def _queued_again(story: Story) -> None:
    story.ask(SOON, "90", body=request("90"))


def _refused_without_need(slug: str, **known: Any) -> Lie:
    def lie(story: Story) -> None:
        for number, entry in enumerate(story.history):
            if (entry.op, entry.status) == ("place", 409) or entry.label == TOO_MANY:
                story.change(number, op="level", body={"goods_id": GOODS, "total": PIECES, "available": 0}, status=200)
        del story.requests["91"]
        story.submit("new", "93", **known)
        story.requests["93"] = request("93", "refused", slug=slug)

    return lie


def _returned(story: Story, **told: Any) -> None:
    story.call("return", BACK, order_id="29", status=202, body={"order_id": "29", "run_id": "70"} | told)


def _told_and_not_returned(story: Story) -> None:
    story.call("return", PAID, order_id="11", status=202, body={"order_id": "11", "run_id": "72"})


def _returned_unasked(story: Story) -> None:
    story.place("new", body=order("20", "new"))
    story.call("pay", "new", order_id="20", status=503, body=problem(503, "outcome-unknown"))
    story.ends(order("20", "new", "returned"))


LIES: list[tuple[str, Lie]] = [
    ("lost", _acknowledged_and_gone),
    ("decided", _request_ends("92", "10", state="queued")),
    ("decided", _request_ends("92", "10", state="failed")),
    ("decided", _request_lost),
    ("made_as_asked", _request_ends("92", "10", state="created", made="10")),
    ("made_as_asked", _made_what_no_client_submitted),
    ("invented", _refused_and_made),
    ("one_key_one_request", _twice_taken_in),
    ("one_key_one_request", _without_key_once),
    ("replayed_truly", _both_taken_in_first),
    ("requests_forwards", _told_and_changed),
    ("requests_forwards", _queued_again),
    ("requests_forwards", lambda story: story.ask(SOON, "90", status=404, body=problem(404, "not-found"))),
    ("requests_refused_truly", _refused_without_need("insufficient-stock")),
    ("requests_refused_truly", _refused_without_need("coupon-not-usable")),
    ("requests_refused_truly", _refused_without_need("expired")),
    ("requests_refused_truly", _refused_without_need("idempotency-mismatch")),
    ("altered", _changed_since),
    ("altered", _not_as_asked),
    ("altered", _wrong_sum),
    ("invented", _created_all_the_same),
    ("invented", _short_and_created),
    ("invented", _no_client_asked),
    ("invented", _without_key_twice),
    ("invented", _other_content),
    ("invented", _other_id_than_told),
    ("one_key_one_order", _two_orders_of_one_key),
    ("replayed_truly", lambda story: story.change(REPEAT_OF_PAID, replayed=False)),
    ("replayed_truly", _repeat_of_nothing),
    ("short_truly", _never_short),
    ("documented", lambda story: story.call("pay", PAID, order_id="11", status=500, body=problem(500, "internal"))),
    ("documented", lambda story: story.call("pay", PAID, order_id="11", status=503, body=problem(503, "internal"))),
    ("done_as_told", _pay_shows_it_open),
    ("done_as_told", _answers_with_another_order),
    ("paid_stays", lambda story: _told(story, "pay", "paid", "closed", "timeout")),
    ("paid_stays", lambda story: _told(story, "look", "paid", "closed", "timeout")),
    ("paid_stays", _paid_by_a_refusal_and_closed),
    ("closed_stays", lambda story: _told(story, "cancel", "closed", "created")),
    ("closed_stays", _refused_as_closed_while_paid),
    ("forwards", _seen_open_again),
    ("forwards", _listed_open_again),
    ("found", _not_found),
    ("found", _missing_in_the_list),
    ("asked_for", _ends_as("paid")),
    ("asked_for", _ends_as("closed", "cancelled")),
    ("asked_for", _ends_as("closed", "timeout", "2030-01-01T10:14:59.999Z")),
    ("conserved", _one_piece_more),
    ("conserved", _below_zero),
    ("conserved", _total_changed),
    ("shown_truly", _shown_otherwise),
    ("levels_possible", _level(PIECES, PIECES + 1)),
    ("levels_possible", _level(PIECES, -1)),
    ("levels_possible", _level(PIECES - 1, 0)),
    ("reserved_once", _reserved(0, Reservation("11", "released", {GOODS: 2}))),
    ("reserved_once", _reserved(0)),
    ("reserved_once", _reserved(0, Reservation("11", "deducted", {GOODS: 1}))),
    ("reserved_once", _reserved(0, *[Reservation("11", "deducted", {GOODS: 2})] * 2)),
    ("reserved_once", _reserved(1, Reservation("12", "deducted", {GOODS: 2}))),
    ("reserved_once", _reserved(1, Reservation("77", "deducted", {GOODS: 2}))),
    ("altered", _without_its_coupon),
    ("altered", _at_the_full_price),
    ("invented", _with_a_coupon_unasked),
    ("coupons_possible", _coupon_shown(USES, 1, 0)),
    ("coupons_possible", _coupon_shown(USES + 1, -1, 0)),
    ("coupons_counted", _counted_otherwise),
    ("coupons_counted", _too_many_of_one_user),
    ("coupon_held_once", _use("15", None)),
    ("coupon_held_once", _use("15", "held")),
    ("coupon_held_once", _use("15", "used", user="other")),
    ("coupon_held_once", _use("17", "held")),
    ("coupon_held_once", _use("77", "held")),
    ("coupon_held_once", _use("11", "held")),
    ("coupon_held_once", _told_meanwhile),
    ("refused_truly", _refused("expired")),
    ("refused_truly", _not_used_up),
    ("paid_once", lambda story: story.charges.pop(0)),
    ("paid_once", _charged("11", amount=1)),
    ("paid_once", _charged("11", currency="JPY")),
    ("paid_once", lambda story: story.charges.append(Charge("77", "c77", 1, "EUR", 0, 0))),
    ("paid_once", lambda story: story.charges.append(story.charges[0])),
    ("paid_once", _charged("18", sent_back=0)),
    ("sent_back_once", _charged("18", sent_back=2)),
    ("sent_back_once", _charged("18", keys=2)),
    ("payment_shown", _payment_shown("11", "open")),
    ("payment_shown", _payment_shown("13", "succeeded")),
    ("payment_shown", _payment_shown("12", "refunded")),
    ("payment_shown", _payment_shown("18", "closed")),
    ("sent_elsewhere", lambda story: _sent_to(story, order_id="11")),
    ("sent_elsewhere", lambda story: _sent_to(story, pay_url=None)),
    ("settled", _left),
    ("settled_in_time", _quiet_after(5.1)),
    ("settled_in_time", _quiet_after(None)),
    ("returned_for_good", _told_and_not_returned),
    ("returned_for_good", lambda story: _returned(story, order_id="11")),
    ("returned_once", lambda story: _returned(story, run_id="71")),
    ("asked_for", _returned_unasked),
    ("documented", lambda story: story.call("return", BACK, order_id="29", status=200, body={})),
    ("forwards", lambda story: story.call("look", BACK, order_id="29", status=200, body=order("29", BACK, "paid"))),
    ("reserved_once", lambda story: story.reservations.append(Reservation("29", "deducted", {GOODS: 2}))),
    ("paid_once", _charged("29", sent_back=0)),
    ("payment_shown", _payment_shown("29", "refunding")),
    ("coupon_held_once", _use("29", "used")),
    *lies_of_sales.LIES,
]


def test_the_truth_is_believed() -> None:
    """A run whose answers are all true is not accused of anything."""
    assert truth().verdict() == []


@pytest.mark.parametrize(("rule", "lie"), LIES, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(LIES)])
def test_a_lie_is_caught_by_its_rule(rule: str, lie: Lie) -> None:
    """Each lie is found by one rule, and would go unseen if that were dropped."""
    story = truth()
    lie(story)
    assert {line.partition(":")[0] for line in story.verdict()} == {rule}
    assert story.without(rule) == []


def test_every_rule_has_its_lie() -> None:
    """No rule goes untested."""
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in LIES}


@pytest.mark.parametrize(
    "late",
    [
        lambda story: story.place(CUT, status=None),
        lambda story: story.place("new", status=None),
        lambda story: story.place("new", status=503, body={**problem(503, "outcome-unknown"), "order_id": "20"}),
        lambda story: story.call("cancel", CANCELLED, order_id="12", status=503, body=problem(503, "unavailable")),
        lambda story: story.place(REFUSED, status=429, body=problem(429, "too-many-requests")),
    ],
)
def test_what_may_be_either_is_believed(late: Lie) -> None:
    """An answer that leaves open what happened is no lie, whatever happened."""
    story = truth()
    late(story)
    assert story.verdict() == []


def test_answers_that_cross_are_believed() -> None:
    """Who asked before an order was paid may be shown it open, even if that answer comes last."""
    story = truth()
    story.change(LOOK, body=order("11", PAID), invoked=story.history[PAY].invoked)
    assert story.verdict() == []


def test_an_order_of_another_body_may_overtake_a_request() -> None:
    """A request that got its 202 is refused if an order of another body was placed with its key before it."""
    story = truth()
    story.submit("new", "93")
    story.place("new", body=order("20", "new", quantity=3), sent=sent("new", 3))
    story.ends(order("20", "new", quantity=3), held=3)
    story.requests["93"] = request("93", "refused", slug="idempotency-mismatch")
    assert story.verdict() == []


def test_an_order_need_not_be_found_before_its_201() -> None:
    """What was asked before the 201 came may be told that there is no such order."""
    story = truth()
    story.change(LOOK, status=404, body=problem(404, "not-found"), invoked=story.history[FIRST_OF_PAID].invoked)
    assert story.verdict() == []


def test_the_verdict_is_the_same_from_files() -> None:
    """A history and a final state that were kept are judged as they were at once."""
    story = truth()
    _left(story)
    history = load(json.dumps(asdict(entry)) for entry in story.history)
    final = Final.from_json(json.loads(json.dumps(story.final().as_json())))
    assert check(history, final) == story.verdict() != []
