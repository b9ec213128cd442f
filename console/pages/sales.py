"""Flash sales: what each owns, what orders hold of it, what is under way, and why it is not done; closed."""

from collections.abc import Mapping
from typing import Final

from common.errors import Malformed
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.doing import Doing
from console.service.sales import FlashSales
from console.service.trying import told_as, tried

_OPEN: Final = ("true", "false")


def install(site: Site, sales: FlashSales, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/sales", query=("open", "cursor"), menu="Sales")
    def show_sales(viewer: Viewer, query: Mapping[str, str]) -> Result:
        is_open = query.get("open")
        if is_open not in {None, *_OPEN}:
            raise Malformed(f"open is one of {', '.join(_OPEN)}.")
        found = tried(lambda: sales.page(viewer.token, is_open=is_open, cursor=query.get("cursor")))
        return Shown("sales.html", {**told_as("page", found), "open": is_open})

    @site.page("/sales/<id:sale_id>")
    def show_sale(viewer: Viewer, sale_id: int) -> Result:
        found = tried(lambda: sales.one(viewer.token, sale_id))
        context = {
            "sale_id": sale_id,
            **told_as("sale", found),
            "done": actions.of(_thing(sale_id)),
            "form_id": actions.form_id(),
        }
        return Shown("sale.html", context)

    @site.form("/sales/<id:sale_id>/close")
    def close(viewer: Viewer, sale_id: int, form: Form) -> Result:
        asked = asked_of(viewer, form, "close", _thing(sale_id), needs_why=False)
        doing.once(asked, lambda _: sales.close(viewer.token, sale_id))
        return See(f"/sales/{sale_id}")


def _thing(sale_id: int) -> str:
    return f"sale {sale_id}"
