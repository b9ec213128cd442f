"""The ledger of the bench of flash sales: what buyers were told against order requests, orders and pieces."""

from lab.bench.flash import differences, maybe


def test_what_agrees() -> None:
    """Also where batch-mates were refused, and where a buyer who doesn't know bought something."""
    assert differences([1, 2], {1: "created", 2: "created", 3: "refused"}, placed=2, pieces=2, perhaps=0) == []
    assert differences([1], {1: "created", 2: "created"}, placed=2, pieces=2, perhaps=1) == []
    assert differences([], {}, placed=0, pieces=0, perhaps=0) == []


def test_a_purchase_that_is_lost() -> None:
    """One with a 202 that is no order request, or one that was refused; many are not all told."""
    assert differences([1, 2], {2: "refused"}, placed=2, pieces=2, perhaps=0) == [
        "purchase 1 was taken in with 202, and is nowhere", "purchase 2 was taken in with 202, and is refused",
    ]  # fmt: skip
    told = differences(range(9), {}, placed=9, pieces=9, perhaps=0)
    assert (len(told), told[-1]) == (6, "4 more of these")


def test_orders_that_were_not_bought_or_that_are_missing() -> None:
    """They are told by number."""
    assert differences([1], {1: "created"}, placed=2, pieces=5, perhaps=0) == [
        "1 were taken in, 0 perhaps, and there are 2 orders"
    ]
    assert differences([1], {1: "created"}, placed=0, pieces=5, perhaps=0) == [
        "1 were taken in, 0 perhaps, and there are 0 orders"
    ]


def test_what_is_sold_twice() -> None:
    """More orders than pieces, and one purchase that two buyers were told of."""
    created = {1: "created", 2: "created"}
    assert differences([1, 2], created, placed=2, pieces=1, perhaps=0) == ["oversold: 2 orders of 1 pieces"]
    assert differences([1, 1], created, placed=2, pieces=2, perhaps=0) == ["1 purchases were told to two buyers"]


def test_which_errors_may_have_bought() -> None:
    """Those after which it is not known."""
    assert maybe({"503 outcome-unknown": 2, "connection lost": 1, "no answer": 1, "503 unavailable": 7}) == 4
