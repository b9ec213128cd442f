"""The order service: what became of purchases."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from common.answers import by_id, readable
from common.errors import PeerUnavailable
from common.peer import Peer
from halfmessage.chunks import chunks

_TOGETHER = 500  # purchases in one call


class Fate(StrEnum):
    """What the order service says of a purchase."""

    UNKNOWN = "unknown"
    """Its message has not come there."""
    WAITING = "waiting"
    STANDS = "stands"
    """As an order that is neither closed nor returned."""
    OVER = "over"
    """Refused, or its order is closed or returned: it will never hold anything again."""


@dataclass(frozen=True, slots=True)
class OrdersClient:
    """Order requests."""

    peer: Peer

    def fates(self, purchase_ids: Collection[int]) -> dict[int, Fate]:
        """Return what became of each purchase. Raise `PeerUnavailable`."""
        found = dict.fromkeys(purchase_ids, Fate.UNKNOWN)
        for part in chunks(sorted(purchase_ids), _TOGETHER):
            asked = {"request_ids": [str(one) for one in part]}
            status, answer = self.peer.call("POST", "/internal/order-requests/states", asked)
            if status != HTTPStatus.OK:
                raise PeerUnavailable(f"The order service refused a call ({status}); try again.")
            with readable("order"):
                told = by_id(answer["requests"], "request_id")
                if not told.keys() <= set(part):
                    raise ValueError("purchases that were not asked for")
                found |= {one: _fate(its["state"], its["status"]) for one, its in told.items()}
        return found


def _fate(state: str, status: str | None) -> Fate:
    if state == "queued":
        return Fate.WAITING
    if state in {"refused", "failed"} or status in {"closed", "returned"}:
        return Fate.OVER
    if state == "created" and status in {"created", "paid"}:
        return Fate.STANDS
    raise ValueError("an unknown state")
