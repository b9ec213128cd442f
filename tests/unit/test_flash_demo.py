"""The demo of a flash sale, told of a shop that does as it should, or does not."""

import threading
from collections.abc import Mapping
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from ops.client import Answer
from ops.deployment import Deployment
from ops.errors import NotInTime
from ops.flash_demo import FlashDemo
from ops.story import StoryBroken, Teller


class Shop:
    """A deployment and its client in one: a sale of so many pieces, of which some may be bad."""

    def __init__(self, pieces: int) -> None:
        self.left, self.owned, self.others = pieces, pieces, 20
        self.orders: list[str] = []
        self.refuses: set[str] = set()  # buyers whose purchase becomes a refusal, once; the piece comes back
        self.oversold = 0  # orders that nobody bought
        self.is_down = False
        self.kills: list[str] = []
        self._lock = threading.Lock()
        self.plan = SimpleNamespace(servers=None)
        self.supervisor = SimpleNamespace(
            pid=lambda _: 7, kill=lambda name, _: self.kills.append(name), wait_gone=lambda *_, **__: None
        )

    def client(self, _user: str, _scopes: object) -> "Shop":
        return self

    def token(self, user: str) -> str:
        return user

    def close(self) -> None:
        pass

    def ask(self, service: str, _method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        name = headers["Authorization"].removeprefix("Bearer ")
        with self._lock:
            if self.is_down:
                return Answer(503, {"type": "/problems/unavailable"}, {})
            return self._buy(name) if service == "flash" else self._decide(path.rpartition("/")[2])

    def _buy(self, name: str) -> Answer:
        if not self.left:
            return Answer(409, {"type": "/problems/sold-out"}, {})
        self.left -= 1
        if name not in self.refuses:
            self.orders.append(name)
        return Answer(202, {}, {"location": f"/order-requests/{name}"})

    def _decide(self, name: str) -> Answer:
        if name in self.refuses:
            self.refuses.remove(name)
            self.left += 1
            return Answer(200, {"state": "refused", "problem": {"type": "/problems/sold-out"}}, {})
        return Answer(200, {"state": "created"}, {})

    def post(self, service: str, _path: str, _body: object = None) -> dict[str, Any]:
        return {"goods_id": "1", "name": "Headphones"} if service == "goods" else {"sale_id": "2"}

    def put(self, *_: object) -> None:
        pass

    def get(self, service: str, path: str, **_: str) -> dict[str, Any]:
        if service == "flash":
            return {"left": self.left}
        if service == "order":
            users = [*self.orders, *(f"nobody-{n}" for n in range(self.oversold))]
            items = [{"goods_id": "1", "quantity": 1}]
            return {"items": [{"user_id": u, "status": "created", "items": items} for u in users], "next_cursor": None}
        if path.startswith("/internal/"):
            return {"quantity": self.owned}
        return {"available": self.others, "total": self.others + self.owned}


def tell(shop: Shop, *, buyers: int = 12, pieces: int = 4) -> str:
    """Tell all of it; return what was printed."""
    out = Console(width=200, record=True, file=StringIO())
    FlashDemo(cast("Deployment", shop), Teller(out), buyers=buyers, pieces=pieces).tell_all()
    return out.export_text()


def test_all_of_it() -> None:
    """The flash process is killed once, at half of the pieces, and everything is told."""
    shop = Shop(4)
    told = tell(shop)
    assert shop.kills == ["flash"]
    for claim in (
        "the flash process was killed when 2 buyers had their 202",
        "all 12 are answered: 4 that they are in (202), 8 that it is sold out",
        "each of 4 purchases ended: 4 created",
        "exactly 4 are sold",
    ):
        assert f"✓ {claim}" in told


def test_pieces_that_come_back_are_sold_to_who_comes_again() -> None:
    """As where a purchase was forgotten, and is refused."""
    shop = Shop(4)
    shop.refuses = {"buyer-1"}
    told = tell(shop)
    assert "1 of the refused came again" in told
    assert "each of 5 purchases ended: 4 created, 1 refused: sold-out" in told
    assert len(shop.orders) == 4


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ({"oversold": 1}, "exactly 4 are sold"),
        ({"owned": 5}, "at stock it owns the 4 pieces"),
        ({"left": 3}, "4 pieces are left in it"),
        ({"others": 19}, "other orders can have 20 of 24"),
    ],
)
def test_what_does_not_hold_is_told(wrong: Mapping[str, int], broken: str) -> None:
    """And nothing after it."""
    shop = Shop(4)
    for name, value in wrong.items():
        setattr(shop, name, value)
    with pytest.raises(StoryBroken, match=broken):
        tell(shop)


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """For buyers who never get an answer."""
    monkeypatch.setattr("ops.flash_demo._WITHIN", 0.1)
    shop = Shop(4)
    shop.is_down = True
    with pytest.raises(NotInTime, match="12 buyers still had no answer"):
        tell(shop)
