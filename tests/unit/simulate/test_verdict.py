"""What the verdict of a simulated run sees beside the judge of the drills."""

import pytest

from lab.simulate.coupons import COUPONS, OFF, WITHDRAWN
from lab.simulate.scheduler import BEGIN
from lab.simulate.verdict import issued_by_two

NOW = BEGIN // 1_000_000


def issued(worker: int, at: int, name: str) -> tuple[int, str]:
    return at << 22 | worker << 12, name


def test_a_worker_id_changes_hands() -> None:
    """The ids of one process may follow those of another; they must not lie between them."""
    in_turn = [issued(0, 1, "a"), issued(1, 2, "b"), issued(0, 2, "a"), issued(0, 3, "c"), issued(1, 4, "b")]
    assert list(issued_by_two(in_turn)) == []
    (line,) = issued_by_two([*in_turn, issued(0, 4, "a")])
    assert line.startswith("worker id 0")


@pytest.mark.parametrize(
    ("coupon_id", "user", "amount", "taken_off", "seconds", "said"),
    [
        (OFF, "user-1", 499, 74, 1, None),
        (OFF, "user-1", 499, 75, 1, "takes something else off"),
        (13, "user-0", 499, 49, 1, None),
        (13, "user-1", 499, 49, 1, "is another user's"),
        (14, "user-1", 998, 99, 1, "asks for more"),
        (15, "user-1", 499, 49, 5, None),
        (15, "user-1", 499, 49, 6, "is over"),
        (16, "user-1", 499, 49, 3, "has not started"),
        (17, "user-1", 998, 998, 1, None),
        (18, "user-1", 499, 100, 1, "is of another currency"),
        (WITHDRAWN, "user-1", 499, 164, 5, None),
        (WITHDRAWN, "user-1", 499, 164, 6, "is withdrawn"),
    ],
)
def test_rules_of_coupons(
    coupon_id: int, user: str, amount: int, taken_off: int, seconds: int, said: str | None
) -> None:
    """Each is seen to be broken."""
    at = NOW + 1000 * seconds
    withdrawn_at = NOW + 5500 if coupon_id == WITHDRAWN else None
    assert COUPONS[coupon_id].breaks(user, amount, taken_off, at, withdrawn_at) == said
