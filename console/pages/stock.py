"""Stock: what there is of each goods, and what it is made of; restocked, or counted anew."""

from collections.abc import Mapping

from common.errors import Malformed
from console.clients.services import Services
from console.pages.letters import form_id_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions, Asked
from console.service.doing import Doing, why_of
from console.service.looking import Silent
from console.service.stocks import Stocks
from console.service.trying import tried

_LONGEST_NUMBER = 13  # digits: stock itself takes at most a million millions


def install(site: Site, services: Services, stocks: Stocks, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/stock", query=("cursor",), menu="Stock")
    def show_stock(viewer: Viewer, query: Mapping[str, str]) -> Result:
        found = tried(lambda: stocks.page(viewer.token, query.get("cursor")))
        if isinstance(found, Silent):
            return Shown("stock.html", {"page": None, "why": found.why})
        return Shown("stock.html", {"page": found, "why": ""})

    @site.page("/stock/<id:goods_id>")
    def show_goods(viewer: Viewer, goods_id: int) -> Result:
        found = tried(lambda: stocks.one(viewer.token, goods_id))
        silent = found if isinstance(found, Silent) else None
        context = {
            "goods_id": goods_id,
            "line": None if silent else found,
            "why": silent.why if silent else "",
            "done": actions.of(_thing(goods_id)),
            "form_ids": (actions.form_id(), actions.form_id()),
        }
        return Shown("goods.html", context)

    @site.form("/stock/<id:goods_id>/restock")
    def restock(viewer: Viewer, goods_id: int, form: Form) -> Result:
        body = {"quantity": _pieces(form, "quantity")}
        doing.once(
            _asked(viewer, goods_id, form, f"restock {body['quantity']}"),
            lambda key: services.post("stock", f"/stock/{goods_id}/restock", viewer.token, body, key=key),
        )
        return See(f"/stock/{goods_id}")

    @site.form("/stock/<id:goods_id>/total")
    def set_total(viewer: Viewer, goods_id: int, form: Form) -> Result:
        body = {"total": _pieces(form, "total")}
        doing.once(
            _asked(viewer, goods_id, form, f"set total {body['total']}"),
            lambda _: services.put("stock", f"/stock/{goods_id}", viewer.token, body),
        )
        return See(f"/stock/{goods_id}")


def _thing(goods_id: int) -> str:
    return f"goods {goods_id}"


def _asked(viewer: Viewer, goods_id: int, form: Form, action: str) -> Asked:
    why = why_of(one(form, "why"), required=False)
    return Asked(form_id_of(form), viewer.identity.user_id, action, (_thing(goods_id),), why)


def _pieces(form: Form, name: str) -> int:
    """Return a number of pieces. Raise `Malformed`; what stock itself allows is stock's to say."""
    text = one(form, name).strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise Malformed("Say how many pieces, in digits. Nothing was done.")
    return int(text)
