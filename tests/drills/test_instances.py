"""Several instances of each service: killing any one of them loses nothing, the others take over."""

from pathlib import Path

import pytest

from tests.drills.conftest import Play, running_sut
from tests.drills.test_random_kills import random_kills

pytestmark = [
    pytest.mark.drill,
    pytest.mark.timeout(3600),
    *(pytest.mark.P1, pytest.mark.P2, pytest.mark.P3, pytest.mark.P4, pytest.mark.P5),
]


@pytest.mark.in_turn
@pytest.mark.parametrize(
    "name",
    [
        "check-back-by-another-instance",
        "delivery-taken-over",
        "without-stock",
        "without-stock-2",
        "without-order-2",
        "one-key-at-two-instances",
    ],
)
def test_drill(name: str, drill: Play) -> None:
    """What its line of `./scripts/drill --list` says must hold, holds, and is settled within its limit."""
    drill(name)


def test_random_kills_of_several_instances(tmp_path: Path) -> None:
    """Ids come from worker ids of their own; as with one instance of each, every answer is true."""
    with running_sut(tmp_path, {"order": 2, "stock": 2}) as sut:
        goods_id = sut.new_goods()
        placed = [sut.place(sut.user(), goods_id, at=at) for at in ("order", "order-2")]
        assert len({int(answer.body["order_id"]) >> 12 & 1023 for answer in placed if answer is not None}) == 2
        random_kills(sut)
