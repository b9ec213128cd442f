"""What must be true of order requests: what got a 202 becomes one order, or is refused with a reason that holds."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from lab.drill.nemesis.case import (
    NOT_FOUND,
    OK,
    PLACING,
    Case,
    Shown,
    label_of,
    may_have_been_taken,
    quantities,
    request_of,
    wanted,
)
from lab.drill.nemesis.history import Entry

_DECIDED = frozenset({"created", "refused"})


def decided(case: Case) -> Iterator[str]:
    """Every request that a 202 told of is there, and decided once it is quiet; none fails by a fault of ours."""
    for entry in case.taken_in:
        state = case.final.requests.get(request_of(entry), {}).get("state", "not found")
        if state not in _DECIDED:
            yield f"request {request_of(entry)} of {entry.label} got a 202, and is {state}"


def made_as_asked(case: Case) -> Iterator[str]:
    """See that a request which is `created` names an order of its user's, and that this is what was asked for."""
    for entry in case.taken_in:
        request = case.final.requests.get(request_of(entry), {})
        if request.get("state") == "created" and not _is_its(case, entry, str(request["order_id"])):
            yield f"request {request_of(entry)} of {entry.label} names {request['order_id']}, not an order of its own"


def _is_its(case: Case, entry: Entry, order_id: str) -> bool:
    order, sent = case.orders.get(order_id), entry.sent or {}
    return (
        order is not None
        and case.owners[order_id] == entry.user
        and label_of(order) == entry.label
        and quantities(order) == wanted(sent)
        and order["coupon_id"] == sent.get("coupon_id")
    )


def one_key_one_request(case: Case) -> Iterator[str]:
    """All 202 of one idempotency key are the same request; without a key each is its own."""
    found: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in case.taken_in:
        found[entry.user, entry.label].append(entry)
    for (user, label), entries in found.items():
        ids = {request_of(entry) for entry in entries}
        if len(ids) != (1 if entries[0].keyed else len(entries)):
            yield f"{len(entries)} 202 for {label} of {user} are {len(ids)} requests"


def requests_forwards(case: Case) -> Iterator[str]:
    """See that a request which was told to be decided stays so, and that one which got a 202 is found."""
    told: dict[str, float] = {}
    for entry in (*case.taken_in, *case.bought):
        told[request_of(entry)] = min(entry.answered or 0.0, told.get(request_of(entry), entry.answered or 0.0))
    for entry in case.history:
        if entry.op != "ask" or entry.request_id is None:
            continue
        if entry.status == NOT_FOUND and told.get(entry.request_id, entry.invoked) < entry.invoked:
            yield f"request {entry.request_id} got a 202, and was then not found"
        if entry.status != OK or entry.body["state"] == "queued":
            continue
        for later in _asked_after(case, entry):
            if _said(later) != _said(entry.body):
                yield f"request {entry.request_id} was told to be {_said(entry.body)}, and then {_said(later)}"


def _asked_after(case: Case, entry: Entry) -> Iterator[Shown]:
    for other in case.history:
        same = other.op == "ask" and other.request_id == entry.request_id and other.status == OK
        if same and other.invoked > (entry.answered or 0.0):
            yield other.body
    yield case.final.requests.get(entry.request_id or "", {})


def _said(request: Shown) -> tuple[object, ...]:
    return request.get("state"), request.get("order_id"), _slug(request)


def requests_refused_truly(case: Case) -> Iterator[str]:
    """See that a request is refused for what is short or used up, and only where more was asked for than there is.

    Or for its key, where an order of another body was placed with it before the request was worked off.
    """
    asked: defaultdict[str, int] = defaultdict(int)
    coupons: defaultdict[tuple[str, str | None], int] = defaultdict(int)
    for entry in case.history:
        if entry.op in PLACING:
            for goods_id, quantity in wanted(entry.sent or {"items": []}).items():
                asked[goods_id] += quantity
            coupon_id = str((entry.sent or {}).get("coupon_id"))
            coupons[coupon_id, None] += 1
            coupons[coupon_id, entry.user] += 1
    for entry in case.taken_in:
        request = case.final.requests.get(request_of(entry), {})
        if request.get("state") != "refused":
            continue
        sent = entry.sent or {"items": []}
        coupon_id = str(sent.get("coupon_id"))
        made = case.final.coupons.get(coupon_id)
        held = {
            "insufficient-stock": any(asked[goods] > case.final.goods[goods] for goods in wanted(sent)),
            "coupon-not-usable": made is not None
            and (coupons[coupon_id, None] > made.uses or coupons[coupon_id, entry.user] > made.uses_per_user),
            "idempotency-mismatch": any(map(partial(_of_another_body, entry), case.attempts[entry.user, entry.label])),
        }
        if not held.get(_slug(request), False):
            yield f"request {request_of(entry)} of {entry.label} was refused: {request.get('problem')}"


def _of_another_body(entry: Entry, other: Entry) -> bool:
    return entry.keyed and other.sent != entry.sent and may_have_been_taken(other)


def _slug(request: Shown) -> str:
    return str((request.get("problem") or {}).get("type", "")).rpartition("/")[2]


RULES = (decided, made_as_asked, one_key_one_request, requests_forwards, requests_refused_truly)
