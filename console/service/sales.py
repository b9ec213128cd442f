"""Flash sales as pages show them."""

from collections.abc import Mapping
from typing import Any, Final

from console.clients.services import Services
from halfmessage.errors import NotFound

PAGE: Final = 50  # sales of a list


class FlashSales:
    """Asks the flash service, and the order service what became of a purchase."""

    def __init__(self, services: Services) -> None:
        """Take the services."""
        self._services = services

    def page(self, token: str, *, is_open: str | None, cursor: str | None) -> Mapping[str, Any]:
        """Return a page of sales, newest first. Raise as `Services.get` does."""
        return self._services.get("flash", "/flash-sales", token, limit=PAGE, cursor=cursor, open=is_open)

    def one(self, token: str, sale_id: str | int) -> Mapping[str, Any]:
        """Return all of a sale. Raise as `Services.get` does."""
        return self._services.get("flash", f"/admin/sales/{sale_id}", token)

    def close(self, token: str, sale_id: int) -> None:
        """End a sale; again: nothing. Raise as `Services.post` does."""
        self._services.post("flash", f"/flash-sales/{sale_id}/close", token)

    def purchase(self, token: str, purchase_id: str) -> Mapping[str, Any]:
        """Return a purchase with the id of its order, None where there is none. Raise as `Services.get` does."""
        found = self._services.get("flash", f"/admin/purchases/{purchase_id}", token)
        try:
            request = self._services.get("order", f"/order-requests/{purchase_id}", token)
        except NotFound:  # requests are kept for a while
            request = {"state": None, "order_id": None}
        return {**found, "state": request["state"], "order_id": request["order_id"]}
