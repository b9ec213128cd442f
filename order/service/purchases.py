"""Order requests that may be purchases whose message is on its way: until it is there, the flash service knows."""

from collections.abc import Collection

from common.purchases import APART_MS
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.ids import issued_at
from order.clients.flash import FlashClient
from order.model import RequestState
from order.service.requests import NONE, OrderRequest, RequestReader, Standing


class PurchaseReader:
    """Reads requests as `RequestReader` does, and asks the flash service about young ones that are not known."""

    def __init__(self, requests: RequestReader, flash: FlashClient, *, within: float) -> None:
        """Take what reads requests, the flash service, and how old ids may be that it is asked about (seconds).

        Ids may be ahead of our clock by what clocks are apart.
        """
        self._requests = requests
        self._flash = flash
        self._within_ms = int(within * 1000)

    def get(self, request_id: int, *, owner: str | None) -> OrderRequest:
        """Return a request of `owner` (None: of anybody's). Raise `NotFound`, or `PeerUnavailable`: ask again."""
        try:
            return self._requests.get(request_id, owner=owner)
        except NotFound:
            if not -APART_MS <= now_ms() - issued_at(request_id) < self._within_ms:
                raise
        try:
            purchase = self._flash.purchase(request_id)
        except NotFound as error:
            raise NotFound(NONE) from error  # as for another user's, so that no one learns which it is
        if owner not in {None, purchase.user_id}:
            raise NotFound(NONE)
        return OrderRequest(request_id, 0, purchase.user_id, RequestState.QUEUED, issued_at(request_id))

    def states(self, request_ids: Collection[int]) -> dict[int, Standing]:
        """Return what became of those of the requests that are known."""
        return self._requests.states(request_ids)
