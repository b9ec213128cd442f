"""Lists of orders, an order's story, and what can be done with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from common.errors import Malformed, PeerUnavailable
from console.clients.broker import Messages
from console.clients.services import Refused
from console.pages.asking import asked_of
from console.pages.site import ADMIN, HTML, OWNER, Form, Raw, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.checking import Checking
from console.service.doing import Doing
from console.service.kept import kept_of
from console.service.orders import STATUSES, Orders
from console.service.trying import tried
from console.story import write_file

_DONE: Final[Mapping[str, str]] = {
    "paid": "It is paid.",
    "cancelled": "It is cancelled, and its reservations are being given back.",
}
"""What a page says after an action, by the word in its address; other words say nothing."""
_ASKED: Final = "asked"
"""The word after which a page says how the last action ended that was written down."""


def install(
    site: Site, orders: Orders, messages: Messages, checking: Checking, actions: Actions, *, providers: Sequence[str]
) -> None:
    """Add the pages; `providers`: through whom an order can be paid."""
    pages = _Pages(orders, actions, messages, providers)
    _install_lists(site, orders)
    _install_order(site, orders, pages)
    _install_actions(site, orders, pages)
    _install_return(site, orders, actions)
    _install_asking(site, orders, checking, actions)


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


@dataclass(frozen=True, slots=True)
class _Pages:
    """Shows the page of an order."""

    orders: Orders
    actions: Actions
    messages: Messages
    providers: Sequence[str]

    def show(self, viewer: Viewer, order_id: int, *, did: str = "", wrong: str = "", status: int = 200) -> Shown:
        """Show an order as it is; `did`: what was done just now, `wrong`: what stood in its way."""
        found = self.orders.one(viewer.token, order_id, is_admin=viewer.is_admin)
        asks_broker = found.story is None and viewer.is_admin
        given: dict[str, Any] = {
            "order_id": str(order_id),
            "one": found,
            "providers": self.providers,
            "kept": tried(lambda: kept_of(self.messages, order_id)) if asks_broker else None,
            "form_id": self.actions.form_id,
            "done": partial(self.actions.of, _thing(order_id)),  # for admins, and not shown to a poll
            "last": None,
        }
        return Shown("order.html", {**given, "did": did, "wrong": wrong}, status)

    def asked(self, viewer: Viewer, order_id: int) -> Shown:
        """Show an order, and what became of what was asked for last through the console: by a user, of their own."""
        shown = self.show(viewer, order_id)
        done = self.actions.of(_thing(order_id))
        own = [action for action in done if viewer.is_admin or action.who == viewer.identity.user_id]
        return Shown(shown.template, {**shown.context, "last": own[0] if own else None}, shown.status)


def _thing(order_id: int) -> str:
    return f"order {order_id}"


def _install_order(site: Site, orders: Orders, pages: _Pages) -> None:
    @site.page("/orders/<id:order_id>", scopes=OWNER, query=("did",))
    def show(viewer: Viewer, query: Mapping[str, str], order_id: int) -> Result:
        if query.get("did") == _ASKED:
            return pages.asked(viewer, order_id)
        return pages.show(viewer, order_id, did=_DONE.get(query.get("did", ""), ""))

    @site.page("/orders/<id:order_id>/story.html", scopes=OWNER)
    def save(viewer: Viewer, order_id: int) -> Result:
        story = orders.one(viewer.token, order_id, is_admin=viewer.is_admin).story
        if story is None:
            raise PeerUnavailable("The order service did not tell what happened to this order; try again.")
        kept = {"Content-Disposition": f'attachment; filename="order-{order_id}.html"'}
        return Raw(write_file(story).encode(), HTML, kept)


def _install_actions(site: Site, orders: Orders, pages: _Pages) -> None:
    def done(viewer: Viewer, order_id: int, error: Refused | PeerUnavailable | None, word: str) -> Result:
        """Go on to the order; or show it with what stood in the way, which may be that the outcome is not known."""
        if error is None:
            return See(f"/orders/{order_id}?did={word}")
        unknown = isinstance(error, PeerUnavailable)
        wrong = "There was no answer in time. Whether it was done shows below." if unknown else error.detail
        return pages.show(viewer, order_id, wrong=wrong, status=503 if unknown else 409)

    @site.form("/orders/<id:order_id>/pay", scopes=OWNER)
    def pay(viewer: Viewer, form: Form, order_id: int) -> Result:
        only = pages.providers[0] if len(pages.providers) == 1 else ""
        provider = one(form, "provider") or only
        if provider not in pages.providers:
            raise Malformed("Choose a provider that this deployment has. Nothing was paid.")
        try:
            elsewhere = orders.pay(viewer.token, order_id, provider)
        except (Refused, PeerUnavailable) as error:
            return done(viewer, order_id, error, "")
        if elsewhere is not None:
            return Shown("pay_elsewhere.html", {"order_id": str(order_id), "url": elsewhere})
        return done(viewer, order_id, None, "paid")

    @site.form("/orders/<id:order_id>/cancel", scopes=OWNER)
    def cancel(viewer: Viewer, form: Form, order_id: int) -> Result:  # noqa: ARG001 - it has no fields
        try:
            orders.cancel(viewer.token, order_id)
        except (Refused, PeerUnavailable) as error:
            return done(viewer, order_id, error, "")
        return done(viewer, order_id, None, "cancelled")


def _install_return(site: Site, orders: Orders, actions: Actions) -> None:
    """Add the form that returns an order. It is written down, as a refund is: money goes back for a reason."""
    doing = Doing(actions)

    @site.form("/orders/<id:order_id>/return", scopes=OWNER)
    def give_back(viewer: Viewer, form: Form, order_id: int) -> Result:
        asked = asked_of(viewer, form, "return", _thing(order_id))
        orders.require(viewer.token, order_id)  # before anything is written beside an order that is another's
        doing.once(asked, lambda _: orders.give_back(viewer.token, order_id, asked.why))
        return See(f"/orders/{order_id}?did={_ASKED}")


def _install_asking(site: Site, orders: Orders, checking: Checking, actions: Actions) -> None:
    """Add what does no more than the system does by itself, only now: it needs no reason, and is written down."""
    doing = Doing(actions)

    def once(viewer: Viewer, form: Form, order_id: int, action: str, call: Callable[[], str]) -> Result:
        asked = asked_of(viewer, form, action, _thing(order_id), needs_why=False)
        doing.once(asked, lambda _: call())
        return See(f"/orders/{order_id}?did={_ASKED}")

    @site.form("/orders/<id:order_id>/check", scopes=ADMIN)
    def check(viewer: Viewer, form: Form, order_id: int) -> Result:
        return once(viewer, form, order_id, "check now", lambda: checking.check(viewer.token, order_id))

    @site.form("/orders/<id:order_id>/sweep", scopes=ADMIN)
    def sweep(viewer: Viewer, form: Form, order_id: int) -> Result:
        return once(viewer, form, order_id, "sweep now", lambda: _told(orders.sweep(viewer.token)))


def _told(swept: Mapping[str, Any]) -> str:
    """Say what a sweep did, in orders; nothing of what it found nothing to do with."""
    words = {
        "released": "given back", "verified": "confirmed to stand", "confirmed": "told of", "closed": "closed",
        "undecided": "left undecided, as they may still be under way",
    }  # fmt: skip
    did = [f"{swept[name]} {said}" for name, said in words.items() if swept.get(name)]
    return f"Of all orders: {', '.join(did) or 'nothing was left to finish'}."
