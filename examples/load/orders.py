"""Users who submit orders, each the next one when it has its answer."""

import itertools
from typing import Any

import shop
from locust import FastHttpUser, events, task

_numbers = itertools.count(1)
_given: dict[str, Any] = {}
_taken_in: list[tuple[str, str]] = []  # where an order request is, and its user's token


@events.test_start.add_listener
def prepare(**_: Any) -> None:
    """Create what is ordered."""
    _given["key"] = shop.operator_key()
    _given["goods_id"] = shop.new_goods(_given["key"])


@events.test_stop.add_listener
def settle(environment: Any, **_: Any) -> None:
    """See that each order that was taken in was created."""
    lost = [where for where, bearer in _taken_in if shop.outcome_of(where, bearer) != "created"]
    print(f"{len(_taken_in):,} orders were taken in with 202, {len(lost):,} of them were not created")
    environment.process_exit_code = int(bool(lost) or not _taken_in)


class Customer(FastHttpUser):
    """One user."""

    host = f"http://{shop.HOST}:{shop.ORDER}"

    def on_start(self) -> None:
        """Get a token of its own."""
        self.bearer = shop.token(f"customer-{next(_numbers)}", "orders", _given["key"])

    @task
    def order(self) -> None:
        """Submit an order; 202 says that it is taken in."""
        headers = {"Authorization": f"Bearer {self.bearer}", "Prefer": "respond-async"}
        body = {"items": [{"goods_id": _given["goods_id"], "quantity": 1}]}
        with self.client.post("/orders", json=body, headers=headers) as answer:
            if answer.status_code == 202:  # noqa: PLR2004 - Accepted
                _taken_in.append((answer.headers["Location"], self.bearer))
