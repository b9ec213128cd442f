"""The demo on a machine that is slow: servers that have just started answer 503 for a while."""

from typing import Any

import pytest

from ops.client import Refused
from ops.demo import Demo


class Slow:
    """A client whose first orders are refused with a status."""

    def __init__(self, *statuses: int) -> None:
        self.left, self.keys = list(statuses), list[str]()

    def post(self, _service: str, _path: str, _body: Any, **headers: str) -> dict[str, str]:
        self.keys.append(headers["Idempotency_Key"])
        if self.left:
            raise Refused("no", self.left.pop(0), {})
        return {"order_id": "7"}


def _place(client: Slow) -> dict[str, Any]:
    demo = object.__new__(Demo)
    demo._alice = client  # type: ignore[assignment]
    return demo._place({"goods_id": "1"}, 2)


def test_503_is_asked_again_with_the_same_key() -> None:
    """So that an order which was placed all the same is not placed twice."""
    client = Slow(503, 503)
    assert _place(client) == {"order_id": "7"}
    assert len(client.keys) == 3
    assert len(set(client.keys)) == 1


def test_another_refusal_is_told() -> None:
    """Trying again would not change it."""
    with pytest.raises(Refused):
        _place(Slow(409))
