"""Lists of orders, an order's story, and what can be done with it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from common.errors import Malformed, PeerUnavailable
from console.clients.services import Refused
from console.pages.site import ADMIN, HTML, OWNER, Form, Raw, Result, See, Shown, Site
from console.pages.viewer import Viewer
from console.service.orders import STATUSES, OneOrder, Orders
from console.story import write_file

_DONE: Final[Mapping[str, str]] = {
    "paid": "It is paid.",
    "cancelled": "It is cancelled, and its reservations are being given back.",
    "swept": "The sweep has run: what no message would finish any more is finished, or asked again.",
}
"""What a page says after an action, by the word in its address; other words say nothing."""


def install(site: Site, orders: Orders) -> None:
    """Add the pages."""
    _install_lists(site, orders)
    _install_order(site, orders)
    _install_actions(site, orders)


def _install_lists(site: Site, orders: Orders) -> None:
    @site.page("/orders", scopes=OWNER, query=("user", "status", "cursor"), menu="Orders")
    def show(viewer: Viewer, query: Mapping[str, str]) -> Result:
        status, cursor, user = query.get("status"), query.get("cursor"), query.get("user")
        if status not in {None, *STATUSES}:
            raise Malformed(f"status is one of {', '.join(STATUSES)}.")
        given: dict[str, Any] = {"status": status, "user": user, "statuses": STATUSES, "is_first": cursor is None}
        try:
            page = (
                orders.anybodys(viewer.token, user=user, status=status, cursor=cursor)
                if viewer.is_admin
                else orders.own(viewer.token, status=status, cursor=cursor)
            )
        except PeerUnavailable as error:
            return Shown("orders.html", {**given, "page": None, "why": error.detail, "older": None}, 503)
        return Shown("orders.html", {**given, "page": page, "why": "", "older": _older(query, page.next_cursor)})


def _older(query: Mapping[str, str], cursor: str | None) -> str | None:
    """Return the address of the next page of a list."""
    return None if cursor is None else f"/orders?{urlencode({**query, 'cursor': cursor})}"


def _install_order(site: Site, orders: Orders) -> None:
    @site.page("/orders/<id:order_id>", scopes=OWNER, query=("did",))
    def show(viewer: Viewer, query: Mapping[str, str], order_id: int) -> Result:
        one = orders.one(viewer.token, order_id)
        return _shown(order_id, one, did=_DONE.get(query.get("did", ""), ""))

    @site.page("/orders/<id:order_id>/story.html", scopes=OWNER)
    def save(viewer: Viewer, order_id: int) -> Result:
        story = orders.one(viewer.token, order_id).story
        if story is None:
            raise PeerUnavailable("The order service did not tell what happened to this order; try again.")
        kept = {"Content-Disposition": f'attachment; filename="order-{order_id}.html"'}
        return Raw(write_file(story).encode(), HTML, kept)


def _shown(order_id: int, one: OneOrder, *, did: str = "", wrong: str = "", status: int = 200) -> Shown:
    given = {"order_id": str(order_id), "one": one, "did": did, "wrong": wrong}
    return Shown("order.html", given, status)


def _install_actions(site: Site, orders: Orders) -> None:
    def done(viewer: Viewer, order_id: int, error: Refused | PeerUnavailable | None, word: str) -> Result:
        """Go on to the order; or show it with what stood in the way, which may be that the outcome is not known."""
        if error is None:
            return See(f"/orders/{order_id}?did={word}")
        unknown = isinstance(error, PeerUnavailable)
        wrong = "There was no answer in time. Whether it was done shows below." if unknown else error.detail
        return _shown(order_id, orders.one(viewer.token, order_id), wrong=wrong, status=503 if unknown else 409)

    @site.form("/orders/<id:order_id>/pay", scopes=OWNER)
    def pay(viewer: Viewer, form: Form, order_id: int) -> Result:  # noqa: ARG001 - it has no fields
        try:
            elsewhere = orders.pay(viewer.token, order_id)
        except (Refused, PeerUnavailable) as error:
            return done(viewer, order_id, error, "")
        if elsewhere is not None:
            return Shown("pay_elsewhere.html", {"order_id": str(order_id), "url": elsewhere})
        return done(viewer, order_id, None, "paid")

    @site.form("/orders/<id:order_id>/cancel", scopes=OWNER)
    def cancel(viewer: Viewer, form: Form, order_id: int) -> Result:  # noqa: ARG001
        try:
            orders.cancel(viewer.token, order_id)
        except (Refused, PeerUnavailable) as error:
            return done(viewer, order_id, error, "")
        return done(viewer, order_id, None, "cancelled")

    @site.form("/orders/<id:order_id>/sweep", scopes=ADMIN)
    def sweep(viewer: Viewer, form: Form, order_id: int) -> Result:  # noqa: ARG001
        try:
            orders.sweep(viewer.token)
        except (Refused, PeerUnavailable) as error:
            return done(viewer, order_id, error, "")
        return done(viewer, order_id, None, "swept")
