"""The stock service: the pieces that a sale owns."""

from http import HTTPStatus

from common.answers import readable
from common.errors import PeerUnavailable
from common.peer import Peer
from flash.model import InsufficientStock


class StockClient:
    """Allotments."""

    def __init__(self, peer: Peer) -> None:
        """Take the stock service."""
        self._peer = peer

    def allot(self, sale_id: int, goods_id: int, quantity: int, word: int) -> None:
        """Have a sale own so many pieces, unless a later word was heard. May be repeated.

        Raise `InsufficientStock`, or `PeerUnavailable`: it may have been done.
        """
        body = {"goods_id": str(goods_id), "quantity": quantity, "version": word}
        status, answer = self._peer.call("PUT", f"/internal/allotments/{sale_id}", body)
        if status == HTTPStatus.CONFLICT:
            raise InsufficientStock
        if status != HTTPStatus.OK:
            raise PeerUnavailable(f"The stock service refused a call ({status}); nothing was changed, try again.")
        with readable("stock"):
            if int(answer["sale_id"]) != sale_id or int(answer["version"]) < word:
                raise ValueError("another allotment than was asked for")
