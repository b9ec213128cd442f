"""Coupons: what each is worth, and where its uses are; withdrawn, where no further order may use one."""

from collections.abc import Mapping

from console.clients.services import Services
from console.pages.letters import form_id_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions, Asked
from console.service.doing import Doing, why_of
from console.service.looking import Silent
from console.service.trying import tried

_PAGE = 50


def install(site: Site, services: Services, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/coupons", query=("cursor",), menu="Coupons")
    def show_coupons(viewer: Viewer, query: Mapping[str, str]) -> Result:
        cursor = query.get("cursor")
        found = tried(lambda: services.get("coupon", "/coupons", viewer.token, limit=_PAGE, cursor=cursor))
        if isinstance(found, Silent):
            return Shown("coupons.html", {"page": None, "why": found.why})
        return Shown("coupons.html", {"page": found, "why": ""})

    @site.page("/coupons/<id:coupon_id>")
    def show_coupon(viewer: Viewer, coupon_id: int) -> Result:
        found = tried(lambda: services.get("coupon", f"/coupons/{coupon_id}", viewer.token))
        silent = found if isinstance(found, Silent) else None
        context = {
            "coupon_id": coupon_id,
            "coupon": None if silent else found,
            "why": silent.why if silent else "",
            "done": actions.of(_thing(coupon_id)),
            "form_id": actions.form_id(),
        }
        return Shown("coupon.html", context)

    @site.form("/coupons/<id:coupon_id>/withdraw")
    def withdraw(viewer: Viewer, coupon_id: int, form: Form) -> Result:
        why = why_of(one(form, "why"), required=False)
        asked = Asked(form_id_of(form), viewer.identity.user_id, "withdraw", (_thing(coupon_id),), why)
        doing.once(asked, lambda _: services.post("coupon", f"/coupons/{coupon_id}/withdraw", viewer.token))
        return See(f"/coupons/{coupon_id}")


def _thing(coupon_id: int) -> str:
    return f"coupon {coupon_id}"
