"""Coupons: what each is worth, and where its uses are; withdrawn, where no further order may use one."""

from collections.abc import Mapping

from console.clients.services import Services
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.doing import Doing
from console.service.trying import told_as, tried

_PAGE = 50


def install(site: Site, services: Services, actions: Actions) -> None:
    """Add the pages."""
    doing = Doing(actions)

    @site.page("/coupons", query=("cursor",), menu="Coupons")
    def show_coupons(viewer: Viewer, query: Mapping[str, str]) -> Result:
        cursor = query.get("cursor")
        found = tried(lambda: services.get("coupon", "/coupons", viewer.token, limit=_PAGE, cursor=cursor))
        return Shown("coupons.html", told_as("page", found))

    @site.page("/coupons/<id:coupon_id>")
    def show_coupon(viewer: Viewer, coupon_id: int) -> Result:
        found = tried(lambda: services.get("coupon", f"/coupons/{coupon_id}", viewer.token))
        context = {
            "coupon_id": coupon_id,
            **told_as("coupon", found),
            "done": actions.of(_thing(coupon_id)),
            "form_id": actions.form_id(),
        }
        return Shown("coupon.html", context)

    @site.form("/coupons/<id:coupon_id>/withdraw")
    def withdraw(viewer: Viewer, coupon_id: int, form: Form) -> Result:
        asked = asked_of(viewer, form, "withdraw", _thing(coupon_id), needs_why=False)
        doing.once(asked, lambda _: services.post("coupon", f"/coupons/{coupon_id}/withdraw", viewer.token))
        return See(f"/coupons/{coupon_id}")


def _thing(coupon_id: int) -> str:
    return f"coupon {coupon_id}"
