"""Payments by state: what an order owes, what its provider said, and what became of the money; sent back by hand."""

from collections.abc import Mapping
from typing import Final

from common.errors import Malformed
from common.schema import parse_id
from console.clients.services import Services
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.doing import Doing
from console.service.looking import Silent
from console.service.money import MOST_CHARGES, sums_of
from console.service.trying import told_as, tried

_STATES: Final = ("open", "closed", "succeeded", "refunding", "refunded")
_PAGE: Final = 50


def install(site: Site, services: Services, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/payments", query=("order_id", "status", "cursor"), menu="Payments")
    def show_payments(viewer: Viewer, query: Mapping[str, str]) -> Result:
        if "order_id" in query:
            return _of_order(query["order_id"])
        status, cursor = query.get("status"), query.get("cursor")
        if status not in {None, *_STATES}:
            raise Malformed(f"status is one of {', '.join(_STATES)}.")
        found = tried(lambda: services.get("pay", "/payments", viewer.token, limit=_PAGE, status=status, cursor=cursor))
        context = {"status": status, "states": _STATES, "is_first": cursor is None, **told_as("page", found)}
        return Shown("payments.html", context)

    @site.page("/payments/<id:payment_id>")
    def show_payment(viewer: Viewer, payment_id: int) -> Result:
        found = tried(lambda: services.get("pay", f"/payments/{payment_id}", viewer.token))
        context = {
            "payment_id": payment_id,
            **told_as("payment", found),
            "sums": [] if isinstance(found, Silent) else sums_of(found),
            "most_charges": MOST_CHARGES,
            "done": actions.of(_thing(payment_id)),
            "again": lambda _: (f"/payments/{payment_id}/refund", {}),
            "form_id": actions.form_id(),
        }
        return Shown("payment.html", context)

    @site.form("/payments/<id:payment_id>/refund")
    def refund(viewer: Viewer, payment_id: int, form: Form) -> Result:
        asked = asked_of(viewer, form, "refund", _thing(payment_id))
        where, body = f"/payments/{payment_id}/refund", {"reason": asked.why}
        doing.once(asked, lambda key: services.post("pay", where, viewer.token, body, key=key))
        return See(f"/payments/{payment_id}")


def _of_order(order_id: str) -> See:
    """Go on to the payment of an order, which has the order's id. Raise `Malformed`."""
    if parse_id(order_id) is None:
        raise Malformed("The id of an order is a number, as its page shows it.")
    return See(f"/payments/{order_id}")


def _thing(payment_id: int) -> str:
    return f"payment {payment_id}"
