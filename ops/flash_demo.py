"""The demo of a flash sale: very many buyers, few pieces, and what counts the pieces killed in the middle of it."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from halfmessage.clock import now_ms, rfc3339
from ops.buyers import SOLD_OUT, Buyer, Crowd
from ops.deployment import Deployment
from ops.errors import NotInTime
from ops.stack import Stack
from ops.story import Teller

_OTHERS: Final = 20  # pieces of the goods that the sale does not own
_LASTS: Final = 24 * 3_600_000  # ms, of the sale
_WITHIN: Final = 60.0  # seconds; far longer than anything here takes, but for the buyers, of whom each gets
_EACH: Final = 0.03  # seconds more: so slow only on a machine that has much else to do
_LOOK: Final = 0.25  # seconds between two looks at how far they are
_PAGE: Final = 100
_OK: Final = 200  # or 503: one that is not known yet, while the flash service is asked about it and busy
ENDS: Final = frozenset({"created", f"refused: {SOLD_OUT}", "refused: already-bought"})
"""What may become of a purchase: where what was killed had forgotten it, its piece may have gone to another buyer."""


class FlashDemo:
    """The story, told on one running deployment that no other client uses: its orders are counted."""

    def __init__(self, deployment: Deployment, teller: Teller, *, buyers: int, pieces: int) -> None:
        """Take a ready deployment, and how many buyers there are for how many pieces."""
        self._deployment, self._teller = deployment, teller
        self._pieces = pieces
        self._admin = deployment.client("demo", ["admin"])
        self._service = deployment.client("demo", ["service"])
        self._buyers = [Buyer(f"buyer-{n}", deployment.token(f"buyer-{n}")) for n in range(1, buyers + 1)]
        self._goods: dict[str, Any] = {}
        self._sale_id = ""
        self._became: dict[str, str] = {}  # how each purchase ended
        self._killed_at = 0  # with so many purchases taken in
        servers = deployment.plan.servers
        self._stack = Stack(Path(servers.stack), say=teller.say) if servers else None
        self._victim = "Redis" if self._stack else "the flash process"

    def close(self) -> None:
        """Close the connections."""
        for thing in (self._admin, self._service):
            thing.close()

    def tell_all(self) -> None:
        """Tell it. Raise `StoryBroken`, `NotInTime` or another `CommandFailed` where something does not hold."""
        self.opened()
        crowd = self.rushed()
        self.decided(crowd)
        self.counted()

    def opened(self) -> None:
        """Show that a sale's pieces leave what others can order."""
        tell = self._teller
        tell.chapter(f"A flash sale of {self._pieces} pieces is opened")
        body = {"name": "Headphones", "unit_price": 19900, "market_price": 24900, "currency": "EUR"}
        self._goods = self._admin.post("goods", "/goods", body)
        path = f"/stock/{self._goods['goods_id']}"
        self._admin.put("stock", path, {"total": self._pieces + _OTHERS})
        now = now_ms()
        times = {"starts_at": rfc3339(now - 1000), "ends_at": rfc3339(now + _LASTS)}
        terms = {"goods_id": self._goods["goods_id"], "quantity": self._pieces, "unit_price": 9900, **times}
        sale = self._admin.post("flash", "/flash-sales", terms)
        self._sale_id = sale["sale_id"]
        tell.say(f"POST /flash-sales: sale {self._sale_id}, 99.00 EUR instead of 199.00, one piece for each user")
        tell.expect(self._sale()["left"] == self._pieces, f"{self._pieces} pieces are left in it")
        available = self._admin.get("stock", path)["available"]
        tell.expect(available == _OTHERS, f"other orders can have {_OTHERS} of {self._pieces + _OTHERS}")

    def rushed(self) -> Crowd:
        """Show that all buyers are answered, though what counts the pieces is killed as half of these are sold."""
        tell, number = self._teller, len(self._buyers)
        tell.chapter(f"{number:,} buyers come for them, and {self._victim} is killed with kill -9 in the middle of it")
        at_once = max(1, self._pieces // 4)  # so that it takes several batches of buyers to sell the pieces
        crowd = Crowd(self._admin, self._sale_id, at_once=at_once, taken_in=self._kill_at_half)
        tell.say("Each is a user with a token of its own, and tries again where the answer is none, or 503")
        doomed = self._deployment.supervisor.pid("flash") or 0
        with crowd.buying(self._buyers) as all_answered:
            self._watch(crowd, number, all_answered)
        tally = crowd.tally
        tell.expect(self._killed_at, f"{self._victim} was killed when {self._killed_at} buyers had their 202")
        if self._stack is None:
            self._deployment.supervisor.wait_gone(doomed, within=_WITHIN)
        again = ", ".join(f"{times} x {why}" for why, times in sorted(tally.tries_again.items())) or "no buyer had to"
        tell.say(f"tried again: {again}; the slowest knew after {tally.slowest:.1f} s")
        tell.expect(not tally.strange, "".join(("no answer was anything else", *(f"; {one}" for one in tally.strange))))
        told = f"{len(tally.taken_in):,} that they are in (202), {len(tally.refused):,} that it is sold out"
        tell.expect(tally.answered == number, f"all {number:,} are answered: {told}")
        return crowd

    def decided(self, crowd: Crowd) -> None:
        """Show that each 202 came to an order or to a refusal with the reason, and that every piece is sold."""
        tell, tally = self._teller, crowd.tally
        tell.chapter("What became of each 202?")
        self._follow(crowd)
        if came_again := self._sell_the_rest(crowd):
            tell.say(f"{came_again:,} of the refused came again, for pieces that came back")
            self._follow(crowd)
        became = Counter(self._became.values())
        words = ", ".join(f"{times:,} {what}" for what, times in sorted(became.items()))
        tell.expect(set(became) <= ENDS, f"each of {len(tally.taken_in):,} purchases ended: {words}")
        orders = list(self._orders())
        tell.expect(len(orders) == self._pieces, f"exactly {self._pieces:,} are sold: so many orders stand")
        users = {order["user_id"] for order in orders}
        bought = {(item["goods_id"], item["quantity"]) for order in orders for item in order["items"]}
        is_one_each = len(users) == len(orders) and bought == {(self._goods["goods_id"], 1)}
        tell.expect(is_one_each, f"they are {len(users):,} users', of one piece each")

    def counted(self) -> None:
        """Show that the sale and stock tell the same."""
        tell = self._teller
        tell.chapter("What do the sale and stock say?")
        tell.wait("the sale to know what is left", lambda: self._sale()["left"] == 0, within=_WITHIN)
        tell.expect(self._sale()["left"] == 0, "nothing is left in the sale")
        owned = self._service.get("stock", f"/internal/allotments/{self._sale_id}")["quantity"]
        tell.expect(owned == self._pieces, f"at stock it owns the {self._pieces:,} pieces that it sold")
        level = self._admin.get("stock", f"/stock/{self._goods['goods_id']}")
        tell.expect(level["available"] == _OTHERS, f"the other {_OTHERS} are there still")
        tell.ledger(self._goods, level)

    def _kill_at_half(self, sold: int) -> None:
        """End what counts the pieces with SIGKILL as soon as half of them are sold."""
        if sold != max(1, self._pieces // 2):
            return
        if self._stack is not None:
            self._stack.kill("redis")
        else:
            self._deployment.supervisor.kill("flash", signal.SIGKILL)
        self._killed_at = sold

    def _watch(self, crowd: Crowd, number: int, all_answered: Callable[[float], bool]) -> None:
        """Show how far the buyers are, and start Redis again. Raise `NotInTime`."""
        tally, quarter, is_up = crowd.tally, 1, self._stack is None
        with self._teller.progress("the first buyers come ...") as show:
            give_up_at = time.monotonic() + _WITHIN + _EACH * number
            while not all_answered(_LOOK):
                line = f"{tally.answered:,} of {number:,} answered, {len(tally.taken_in):,} of them with 202"
                show(line)
                if not is_up and self._killed_at and self._stack is not None:
                    self._stack.start("redis")
                    is_up = True
                if tally.answered * 4 >= number * quarter:
                    self._teller.say(line)
                    quarter = tally.answered * 4 // number + 1
                if time.monotonic() >= give_up_at:
                    raise NotInTime(f"{number - tally.answered:,} buyers still had no answer.")

    def _follow(self, crowd: Crowd) -> None:
        """Wait until every purchase that was taken in is decided, and note how. Raise `NotInTime`."""
        undecided = {where: buyer for where, buyer in crowd.tally.taken_in.items() if where not in self._became}

        def all_are() -> bool:
            for where, buyer in list(undecided.items()):
                answer = self._admin.ask("order", "GET", where, headers=buyer.headers)
                if answer.status == _OK and answer.body["state"] != "queued":
                    self._became[where] = words_of(answer.body)
                    del undecided[where]
            return not undecided

        within = _WITHIN + _EACH * len(undecided)
        self._teller.wait("every purchase to be decided", all_are, within=within)

    def _sell_the_rest(self, crowd: Crowd) -> int:
        """Let some who were told that it is sold out come again, as long as pieces come back; return how many did."""
        came_again = 0
        refused = crowd.tally.refused

        def all_sold() -> bool:
            nonlocal came_again
            left = self._sale()["left"] or 0
            late, refused[:] = refused[:left], refused[left:]
            came_again += len(late)
            if late:
                with crowd.buying(late) as all_answered:
                    all_answered(_WITHIN)
            return sum(1 for _ in self._orders()) >= self._pieces

        self._teller.wait("every piece to be sold", all_sold, within=_WITHIN)
        return came_again

    def _orders(self) -> Iterator[dict[str, Any]]:
        """Yield the orders that are not closed. There are none but those of the sale."""
        query: dict[str, str] = {"limit": str(_PAGE)}
        while True:
            page = self._admin.get("order", "/admin/orders", **query)
            yield from (order for order in page["items"] if order["status"] != "closed")
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _sale(self) -> dict[str, Any]:
        sale: dict[str, Any] = self._admin.get("flash", f"/flash-sales/{self._sale_id}")
        return sale


def words_of(told: Mapping[str, Any]) -> str:
    """Return how a purchase ended: created, or refused with the last part of its problem's type."""
    if told["state"] != "refused":
        return str(told["state"])
    return f"refused: {str(told['problem']['type']).rpartition('/')[2]}"
