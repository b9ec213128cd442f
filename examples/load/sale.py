"""Users who all buy one piece in the same flash sale, which has few of them (`LOAD_PIECES`, 100)."""

import itertools
import os
from collections import Counter
from typing import Any

import gevent
import shop
from locust import FastHttpUser, events, task
from locust.exception import StopUser

PIECES = int(os.environ.get("LOAD_PIECES", "100"))
_REST = 0.2  # seconds until a user without an answer tries again
_numbers = itertools.count(1)
_given: dict[str, Any] = {}
_taken_in: dict[str, str] = {}  # where a purchase is, and its user's token


@events.test_start.add_listener
def prepare(**_: Any) -> None:
    """Open the sale."""
    _given["key"] = shop.operator_key()
    _given["path"] = f"/flash-sales/{shop.open_sale(PIECES, _given['key'])}/orders"


@events.test_stop.add_listener
def settle(environment: Any, **_: Any) -> None:
    """See that each 202 became an order, and that exactly what there is was sold; a 503 may be tried again."""
    became = Counter(shop.outcome_of(where, bearer) for where, bearer in _taken_in.items())
    print(f"{len(_taken_in):,} purchases were taken in with 202, and became: {dict(became)}")
    environment.process_exit_code = int(became != {"created": min(PIECES, next(_numbers) - 1)})


class Buyer(FastHttpUser):
    """One user."""

    host = f"http://{shop.HOST}:{shop.FLASH}"

    def on_start(self) -> None:
        """Get a token of its own."""
        self.bearer = shop.token(f"buyer-{next(_numbers)}", "orders", _given["key"])

    @task
    def buy(self) -> None:
        """Buy one piece, and leave with it, or once it is sold out."""
        headers = {"Authorization": f"Bearer {self.bearer}"}
        with self.client.post(_given["path"], headers=headers, catch_response=True) as answer:
            slug = str((answer.json() if answer.status_code else {}).get("type", "")).rpartition("/")[2]
            if answer.status_code == 202:  # noqa: PLR2004 - Accepted
                _taken_in[answer.headers["Location"]] = self.bearer
            elif slug == "already-bought":  # the answer of an earlier try was lost
                _taken_in[answer.json()["location"]] = self.bearer
                answer.success()
            elif slug == "sold-out":
                answer.success()
            else:
                answer.failure(f"{answer.status_code} {slug}")
                gevent.sleep(_REST)
                return
        raise StopUser
