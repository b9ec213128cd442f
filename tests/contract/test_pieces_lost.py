"""What a Redis loses, by the way in which it syncs (docs/decisions/0037): on Valkey, and on Redis where it is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import MetaData

from common.db import Database
from common.redis_client import RedisClient
from flash.pieces.factory import store_of
from flash.pieces.in_database import DatabasePieces
from flash.pieces.in_redis import RedisPieces
from flash.pieces.port import Answer, Buyer, Pieces, Purchase, PurchaseState, Verdict
from flash.pieces.tables import PiecesTables
from halfmessage.errors import Misconfigured, OutcomeUnknown, Unavailable
from halfmessage.tx.record import Outcome
from tests.contract.pieces.shop import Shop, buyer, new_id
from tests.redis_server import RedisServer, redis_program, valkey_program

pytestmark = [pytest.mark.P1, pytest.mark.P3]

TAKEN = Verdict.TAKEN
SYNCED = ("--appendonly", "yes", "--appendfsync", "always")
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
NOT_AT_ALL = ("--appendonly", "no")


class Place:
    """A server, and stores in it."""

    def __init__(self, program: tuple[str, str], directory: Path) -> None:
        self._program, self._directory = program, directory
        self._clients: list[RedisClient] = []

    def start(self, options: tuple[str, ...] = EVERYSEC) -> "Place":
        """Start the server."""
        self.server = RedisServer(self._program, self._directory / "server", options)
        return self

    def open(self) -> Pieces:
        """Open a store."""
        self._clients.append(RedisClient(self.server.url, timeout=30.0, back_off=0.0))
        return RedisPieces(self._clients[-1])

    def shop(self, quantity: int) -> Shop:
        """Open a sale."""
        return Shop(self.open(), self.open, quantity)

    def kill_and_start(self) -> None:
        """Kill the server, and start it with what it has on its disk."""
        self.server.kill()
        self.server.start()

    def close(self) -> None:
        """Close everything."""
        for client in self._clients:
            client.close()
        self.server.close()


@pytest.fixture(params=["valkey", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return a place whose server is still to be started."""
    place = Place(valkey_program() if request.param == "valkey" else redis_program(), tmp_path)
    yield place
    place.close()


def test_scripts_flushed(place: Place) -> None:
    """A Redis that has forgotten the scripts learns them by the next call, whichever that is."""
    shop = place.start().shop(9)
    for user in "ab":
        place.server.admin.script_flush()
        one, verdict = shop.buy(user)
        assert verdict is TAKEN
        for call in (shop.pieces.hold, shop.pieces.give_back):
            place.server.admin.script_flush()
            call(shop.sale_id, [one])
    tx_id = new_id(age=11)
    place.server.admin.script_flush()
    assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.ABORTED
    assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.ABORTED
    assert place.server.admin.keys("*:tx:*").count(f"orders:flash:{{{shop.sale_id}}}:tx:{tx_id}".encode()) == 1
    assert shop.left == 9


def test_killed_always(place: Place) -> None:
    """One that syncs each write has what it has answered: nothing that was told is lost."""
    shop = place.start(SYNCED).shop(2)
    before, (one, verdict) = shop.pieces.incarnation(), shop.buy("a")
    assert verdict is TAKEN
    place.kill_and_start()
    assert shop.pieces.incarnation() != before
    assert shop.take(buyer("a")) == [Answer(Verdict.ALREADY_BOUGHT, one.purchase_id)]
    assert shop.left == 1


def test_killed_everysec(place: Place) -> None:
    """One that syncs each second answers before it writes, while a sync is under way: it is told the rows."""
    shop = place.start(EVERYSEC).shop(2)
    before, (one, _) = shop.pieces.incarnation(), shop.buy("a")
    place.kill_and_start()
    assert shop.pieces.incarnation() != before
    shop.rebuild([Purchase(one.purchase_id, "a", 1, PurchaseState.HELD)])
    assert [shop.buy(user)[1] for user in "abc"] == [Verdict.ALREADY_BOUGHT, TAKEN, Verdict.SOLD_OUT]
    assert shop.left == 0


def test_killed_without_a_log(place: Place) -> None:
    """One that writes nothing knows nothing: it sells nothing, until it is told the rows."""
    shop = place.start(NOT_AT_ALL).shop(2)
    one, _ = shop.buy("a")
    place.kill_and_start()
    _forgotten(shop, Purchase(one.purchase_id, "a", 1, PurchaseState.HELD))


def test_emptied(place: Place) -> None:
    """One that was emptied sells nothing, until it is told the rows; then what they leave."""
    shop = place.start().shop(2)
    one, _ = shop.buy("a")
    place.server.admin.flushall()
    _forgotten(shop, Purchase(one.purchase_id, "a", 1, PurchaseState.HELD))


def _forgotten(shop: Shop, row: Purchase) -> None:
    assert shop.pieces.look(shop.sale_id) is None
    assert shop.buy("b")[1] is Verdict.UNKNOWN_SALE
    assert shop.rebuild([row]) == 1
    assert [shop.buy(user)[1] for user in "abc"] == [Verdict.ALREADY_BOUGHT, TAKEN, Verdict.SOLD_OUT]
    assert shop.left == 0


def test_older_copy(place: Place, tmp_path: Path) -> None:
    """One set back to an older copy, as after a power cut, promises again what it sold, until it is told the rows."""
    shop = place.start(SYNCED).shop(3)
    old, _ = shop.buy("a")
    place.server.kill()
    place.server.copy_to(tmp_path / "copy")
    place.server.start()
    new, _ = shop.buy("b")
    shop.pieces.give_back(shop.sale_id, [old])
    before = shop.pieces.incarnation()
    place.server.kill()
    place.server.set_back_to(tmp_path / "copy")
    assert shop.pieces.incarnation() != before
    assert shop.left == 2
    rows = [Purchase(new.purchase_id, "b", 1, PurchaseState.HELD)]
    assert shop.rebuild([*rows, Purchase(old.purchase_id, "a", 1, PurchaseState.RETURNED)]) == 2
    assert (shop.left, shop.totals.pieces, shop.totals.held) == (2, 1, 1)


def test_down(place: Place) -> None:
    """One that does not answer: the fate of a call is told as unknown, and while it is known to be down, as nothing."""
    shop = place.start().shop(2)
    patient = RedisPieces(client := RedisClient(place.server.url, back_off=60.0))
    try:
        place.server.kill()
        with pytest.raises(OutcomeUnknown):
            patient.take(shop.sale_id, new_id(), [buyer("a")])
        with pytest.raises(Unavailable):
            patient.take(shop.sale_id, new_id(), [buyer("a")])
        with pytest.raises(Unavailable):
            patient.decide(shop.sale_id, new_id())
    finally:
        client.close()
    place.server.start()
    shop.rebuild()
    assert shop.buy("a")[1] is TAKEN


def test_full(place: Place) -> None:
    """One that has no memory left refuses before it writes anything: nothing was taken."""
    shop = place.start().shop(2)
    place.server.admin.config_set("maxmemory", "1")
    with pytest.raises(Unavailable):
        shop.buy("a")
    place.server.admin.config_set("maxmemory", "0")
    assert shop.left == 2


@pytest.mark.parametrize("foreign", ["", "a", "t|1", "x|1|1|ann", "t|one|1|ann"])
def test_what_is_no_purchase_is_not_answered_with_a_fault(place: Place, foreign: str) -> None:
    """Another release wrote it, or anybody: it is not known what is there, which is told as such; the rest goes on."""
    shop = place.start().shop(9)
    known, other = new_id(), new_id()
    shop.pieces.hold(shop.sale_id, [Buyer(known, "ann", 1)])
    place.server.admin.hset(f"orders:flash:{{{shop.sale_id}}}:purchases", str(other).zfill(19), foreign)
    with pytest.raises(Unavailable):
        shop.pieces.find(shop.sale_id, [known, other])
    assert shop.pieces.find(shop.sale_id, [known]).keys() == {known}
    place.server.admin.hset(f"orders:flash:{{{shop.sale_id}}}:sale", "taken", "many")
    with pytest.raises(Unavailable):
        shop.pieces.totals(shop.sale_id)


def test_forgets_by_itself(place: Place) -> None:
    """Nothing that is written stays for ever, whatever is written last."""
    shop = place.start().shop(2)
    one, _ = shop.buy("a")
    shop.pieces.hold(shop.sale_id, [one])
    unknown = new_id()
    shop.pieces.give_back(unknown, [buyer("b")])
    shop.pieces.end(new_id())
    shop.pieces.decide(unknown, new_id(age=11))
    admin: redis.Redis = place.server.admin
    assert all(admin.pttl(key) > 0 for key in admin.keys("*"))


def test_store_of(tmp_path: Path) -> None:
    """A setting decides which store it is; what is none is told without what is in it."""
    database = Database(f"sqlite:///{tmp_path}/pieces.db")
    tables = PiecesTables(MetaData())
    assert isinstance(store_of("", database, tables), DatabasePieces)
    pieces = store_of("redis://127.0.0.1:1/0", database, tables)
    assert isinstance(pieces, RedisPieces)
    pieces.close()
    with pytest.raises(Misconfigured) as caught:
        store_of("memcached://secret@host", database, tables)
    assert "secret" not in caught.value.detail
    database.close()
