"""The coupon service over REST."""

from common.errors import Invalid
from common.idempotency import key_of
from common.lookups import install_lookup
from common.web import Api, Reply, created, current_identity
from coupon.model import CodeTaken
from coupon.schema import CouponFound, CouponOut, CouponsPage, CouponsQuery, NewCoupon
from coupon.service.rules import Coupons, Viewer


def install(api: Api, coupons: Coupons) -> None:
    """Declare the routes beside those of every participant."""
    _declare_reading(api, coupons)
    _declare_writing(api, coupons)


def _declare_reading(api: Api, coupons: Coupons) -> None:
    @api.get("/coupons", query=CouponsQuery, returns={200: CouponsPage}, errors=[Invalid])
    def list_coupons(query: CouponsQuery) -> Reply:
        """List the coupons for every user and one's own, newest first; an admin sees all."""
        found = coupons.list(_viewer(), query.limit + 1, query.before, usable=query.usable)
        shown, more = query.page(found, lambda one: one.coupon_id)
        return Reply(CouponsPage(items=tuple(map(CouponOut.of_attributes, shown)), next_cursor=more))

    @api.get("/coupons/{coupon_id}", returns={200: CouponOut})
    def get_coupon(coupon_id: int) -> Reply:
        """Look at a coupon for every user or one's own; an admin sees any."""
        return Reply(CouponOut.of_attributes(coupons.get(coupon_id, _viewer())))

    @api.get("/coupons/by-code/{code}", returns={200: CouponOut})
    def get_coupon_by_code(code: str) -> Reply:
        """Find the coupon with a code that an order of the caller's could use now."""
        return Reply(CouponOut.of_attributes(coupons.by_code(code, _viewer())))

    install_lookup(api, "coupons", "coupon_ids", CouponFound, coupons.lookup, CouponFound.of_attributes)


def _declare_writing(api: Api, coupons: Coupons) -> None:
    @api.post(
        "/coupons", scopes=("admin",), body=NewCoupon, returns={201: CouponOut}, errors=[CodeTaken], idempotent=True
    )
    def make_coupon(body: NewCoupon, idempotency_key: str | None) -> Reply:
        """Make a coupon."""
        key = key_of(current_identity().user_id, idempotency_key, "POST /coupons", body)
        made = coupons.make(body.parsed(), key)
        shown = CouponOut.of_attributes(made.answer)
        return created(shown, f"/coupons/{shown.coupon_id}", again=made.replayed)

    @api.post("/coupons/{coupon_id}/withdraw", scopes=("admin",), returns={200: CouponOut})
    def withdraw_coupon(coupon_id: int) -> Reply:
        """Let no further order use it; what is held or used stays."""
        return Reply(CouponOut.of_attributes(coupons.withdraw(coupon_id)))


def _viewer() -> Viewer:
    identity = current_identity()
    return Viewer(identity.user_id, not identity.scopes.isdisjoint({"admin", "service"}))
