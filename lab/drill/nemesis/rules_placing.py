"""What must be true of the answers to placing an order."""

from collections import defaultdict
from collections.abc import Iterator

from lab.drill.nemesis.case import (
    ACCEPTED,
    CONFLICT,
    CREATED,
    PLACING,
    Case,
    content,
    label_of,
    may_have_been_taken,
    quantities,
    wanted,
)
from lab.drill.nemesis.history import Entry


def lost(case: Case) -> Iterator[str]:
    """201 is kept: the order exists, and is its user's."""
    for entry in case.acknowledged:
        if case.owners.get(str(entry.body["order_id"])) != entry.user:
            yield f"order {entry.body['order_id']} of {entry.label} was acknowledged with 201, and is not there"


def altered(case: Case) -> Iterator[str]:
    """Orders are as their 201 showed them, and that is what was asked for, less what the coupon takes off."""
    for entry in case.acknowledged:
        order_id = str(entry.body["order_id"])
        kept = case.orders.get(order_id, entry.body)
        if content(kept) != content(entry.body):
            yield f"order {order_id} is not what its 201 showed: {content(kept)}, not {content(entry.body)}"
        yield from _not_as_asked(case, entry, order_id)


def _not_as_asked(case: Case, entry: Entry, order_id: str) -> Iterator[str]:
    sent, got = entry.sent or {}, entry.body
    whole = sum(item["quantity"] * item["unit_price"] for item in got["items"])
    coupon = case.final.coupons.get(str(got["coupon_id"]))
    off = whole * coupon.percent // 100 if coupon else 0
    of = (quantities(got), got["receiver"], got["coupon_id"], got["user_id"])
    if of != (wanted(sent), sent["receiver"], sent.get("coupon_id"), entry.user):
        yield f"order {order_id} is not what {entry.label} asked for: {got}, not {sent}"
    elif (got["goods_amount"], got["discount_amount"], got["total_amount"]) != (whole, off, whole - off):
        yield f"order {order_id} costs {got['total_amount']}, its items {whole} less {off}"


def invented(case: Case) -> Iterator[str]:
    """Where every answer said that nothing was created, nothing was; and nothing exists that was not asked for."""
    for (user, label), orders in case.made.items():
        attempts = case.attempts.get((user, label), [])
        able = [entry for entry in attempts if case.may_have_made(entry)]
        if len(orders) > len(able):
            told = ", ".join(f"{entry.status} {entry.slug}".strip() for entry in attempts) or "no call at all"
            yield f"{user} has {len(orders)} orders {label}, though {len(able)} calls can have made one: {told}"
        for order in orders:
            if able and not any(_fits(entry, order) for entry in able):
                yield f"order {order['order_id']} of {label}: no call that can have made it asked for that, or named it"


def _fits(entry: Entry, order: object) -> bool:
    """Whether an order can be what this attempt made: with the content asked for, and the id that it told."""
    assert isinstance(order, dict)  # noqa: S101 - as JSON has it
    named = entry.body.get("order_id") if isinstance(entry.body, dict) else None
    sent = entry.sent or {"items": []}
    same = wanted(sent) == quantities(order) and label_of(order) == entry.label
    return same and sent.get("coupon_id") == order["coupon_id"] and named in {None, order["order_id"]}


def one_key_one_order(case: Case) -> Iterator[str]:
    """All 201 of one idempotency key are the same order, and there is one at most."""
    for (user, label), attempts in case.attempts.items():
        if not any(entry.keyed for entry in attempts):
            continue
        ids = {str(entry.body["order_id"]) for entry in attempts if entry.status == CREATED}
        ids |= {str(order["order_id"]) for order in case.made.get((user, label), [])}
        if len(ids) > 1:
            yield f"the key {label} of {user} made {len(ids)} orders: {', '.join(sorted(ids))}"


def replayed_truly(case: Case) -> Iterator[str]:
    """`Idempotency-Replayed` stands on repeated answers, and on no others: a key has one first answer a status."""
    for (user, label), attempts in case.attempts.items():
        for status in (CREATED, ACCEPTED):
            firsts = [entry for entry in attempts if entry.status == status and not entry.replayed]
            if attempts[0].keyed and len(firsts) > 1:
                yield f"{len(firsts)} answers {status} to the key {label} of {user} say that they were the first"
        for entry in attempts:
            if entry.replayed and not _was_there(entry, attempts):
                yield f"an answer to {label} of {user} says that it repeats one, but nothing can have been made before"


def _was_there(entry: Entry, attempts: list[Entry]) -> bool:
    ended = entry.answered or entry.invoked
    others = (other for other in attempts if other is not entry and other.invoked < ended)
    return entry.keyed and any(may_have_been_taken(other) for other in others)


def short_truly(case: Case) -> Iterator[str]:
    """`insufficient-stock` is only said where all that was asked for by then is more than there was."""
    for entry in case.history:
        if entry.op != "place" or (entry.status, entry.slug) != (CONFLICT, "insufficient-stock"):
            continue
        asked: defaultdict[str, int] = defaultdict(int)
        for other in case.history:
            if other.op in PLACING and other.invoked < (entry.answered or 0.0):
                for goods_id, quantity in wanted(other.sent or {"items": []}).items():
                    asked[goods_id] += quantity
        mine = wanted(entry.sent or {"items": []})
        if all(asked[goods_id] <= case.final.goods[goods_id] for goods_id in mine):
            yield f"{entry.label} of {entry.user} was told that stock is short, which it can't have been"


RULES = (lost, altered, invented, one_key_one_order, replayed_truly, short_truly)
