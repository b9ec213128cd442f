"""REST: parse, call a use case, serialise."""

from common.errors import Invalid
from common.idempotency import key_of
from common.lookups import install_lookup
from common.paging import PageQuery
from common.web import Api, Reply, created, current_identity
from goods.schema import ChangedGoods, GoodsOut, GoodsPage, NewGoods, RoomList, RoomOut
from goods.service import Catalogue, Rooms, UnknownGoods
from halfmessage.errors import NotFound


def install(api: Api, catalogue: Catalogue, rooms: Rooms) -> None:
    """Declare all routes on `api`."""
    _declare_reading(api, catalogue)
    _declare_writing(api, catalogue)
    _declare_rooms(api, rooms)


def _declare_reading(api: Api, catalogue: Catalogue) -> None:
    @api.get("/goods", query=PageQuery, returns={200: GoodsPage}, errors=[Invalid])
    def list_goods(query: PageQuery) -> Reply:
        """List the goods, newest first.

        Goods added meanwhile do not move the following pages.
        """
        shown, more = query.page(catalogue.list(query.limit + 1, query.before), lambda one: one.goods_id)
        return Reply(GoodsPage(items=tuple(map(GoodsOut.of, shown)), next_cursor=more))

    @api.get("/goods/{goods_id}", returns={200: GoodsOut})
    def get_goods(goods_id: int) -> Reply:
        """Look at one of the goods."""
        return Reply(GoodsOut.of(catalogue.get(goods_id)))

    install_lookup(api, "goods", "goods_ids", GoodsOut, catalogue.lookup, GoodsOut.of)


def _declare_writing(api: Api, catalogue: Catalogue) -> None:
    @api.post("/goods", scopes=("admin",), body=NewGoods, returns={201: GoodsOut}, idempotent=True)
    def add_goods(body: NewGoods, idempotency_key: str | None) -> Reply:
        """Add goods; their stock starts at 0."""
        key = key_of(current_identity().user_id, idempotency_key, "POST /goods", body)
        added = catalogue.add(body.parsed(), key)
        return created(GoodsOut.of(added.answer), f"/goods/{added.answer.goods_id}", again=added.replayed)

    @api.patch("/goods/{goods_id}", scopes=("admin",), body=ChangedGoods, returns={200: GoodsOut})
    def change_goods(goods_id: int, body: ChangedGoods) -> Reply:
        """Change anything but the currency."""
        return Reply(GoodsOut.of(catalogue.change(goods_id, body.parsed())))


def _declare_rooms(api: Api, rooms: Rooms) -> None:
    @api.get("/rooms/{room_id}/goods", returns={200: RoomOut}, errors=[NotFound])
    def get_room(room_id: int) -> Reply:
        """Look at a live room's goods, in the host's order."""
        return Reply(RoomOut.of(rooms.get(room_id)))

    @api.put(
        "/rooms/{room_id}/goods",
        scopes=("admin",),
        body=RoomList,
        returns={200: RoomOut},
        errors=[UnknownGoods],
    )
    def put_room(room_id: int, body: RoomList) -> Reply:
        """Replace a live room's goods."""
        return Reply(RoomOut.of(rooms.put(room_id, body.goods_ids, body.current_goods_id)))
