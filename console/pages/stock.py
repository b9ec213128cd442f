"""Stock: what there is of each goods, and what it is made of; restocked, or counted anew."""

from collections.abc import Mapping
from functools import partial

from common.errors import Malformed
from console.clients.services import Services
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Action, Actions
from console.service.doing import Doing
from console.service.stocks import Stocks
from console.service.trying import told_as, tried

_LONGEST_NUMBER = 13  # digits: stock itself takes at most a million millions


def install(site: Site, services: Services, stocks: Stocks, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/stock", query=("cursor",), menu="Stock")
    def show_stock(viewer: Viewer, query: Mapping[str, str]) -> Result:
        found = tried(lambda: stocks.page(viewer.token, query.get("cursor")))
        return Shown("stock.html", told_as("page", found))

    @site.page("/stock/<id:goods_id>")
    def show_goods(viewer: Viewer, goods_id: int) -> Result:
        found = tried(lambda: stocks.one(viewer.token, goods_id))
        context = {
            "goods_id": goods_id,
            **told_as("line", found),
            "done": actions.of(_thing(goods_id)),
            "again": partial(_again, goods_id),
            "form_ids": (actions.form_id(), actions.form_id(), actions.form_id()),
        }
        return Shown("goods.html", context)

    def moved(viewer: Viewer, goods_id: int, form: Form, action: str, *, needs_why: bool) -> Result:
        """Have pieces come in, or go."""
        body = {"quantity": _pieces(form, "quantity")}
        doing.once(
            asked_of(viewer, form, f"{action} {body['quantity']}", _thing(goods_id), needs_why=needs_why),
            lambda key: services.post("stock", f"/stock/{goods_id}/{action}", viewer.token, body, key=key),
        )
        return See(f"/stock/{goods_id}")

    @site.form("/stock/<id:goods_id>/restock")
    def restock(viewer: Viewer, goods_id: int, form: Form) -> Result:
        return moved(viewer, goods_id, form, "restock", needs_why=False)

    @site.form("/stock/<id:goods_id>/withdraw")
    def withdraw(viewer: Viewer, goods_id: int, form: Form) -> Result:
        return moved(viewer, goods_id, form, "withdraw", needs_why=True)

    @site.form("/stock/<id:goods_id>/total")
    def set_total(viewer: Viewer, goods_id: int, form: Form) -> Result:
        body = {"total": _pieces(form, "total")}
        doing.once(
            asked_of(viewer, form, f"set total {body['total']}", _thing(goods_id), needs_why=False),
            lambda _: services.put("stock", f"/stock/{goods_id}", viewer.token, body),
        )
        return See(f"/stock/{goods_id}")


def _thing(goods_id: int) -> str:
    return f"goods {goods_id}"


def _again(goods_id: int, action: Action) -> tuple[str, Mapping[str, str]]:
    """Return the address of the form that an action came by, and its fields."""
    word, _, pieces = action.action.rpartition(" ")
    if word == "set total":
        return f"/stock/{goods_id}/total", {"total": pieces}
    return f"/stock/{goods_id}/{word}", {"quantity": pieces}


def _pieces(form: Form, name: str) -> int:
    """Return a number of pieces. Raise `Malformed`; what stock itself allows is stock's to say."""
    text = one(form, name).strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise Malformed("Say how many pieces, in digits. Nothing was done.")
    return int(text)
