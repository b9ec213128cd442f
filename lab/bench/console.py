"""`./scripts/bench console`: how long the server takes for each of the console's pages, among very many orders."""

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from http import HTTPStatus
from statistics import median
from typing import Any

from sqlalchemy import Connection, insert

from common.paging import encode_cursor
from console.app import build
from console.model import actions
from console.pages.site import pages_of
from console.pages.viewer import COOKIE
from console.service.actions import Outcome
from console.story import write_file
from halfmessage.chunks import chunks
from halfmessage.clock import now_ms, rfc3339
from lab.bench.console_pages import Page, Things, pages
from lab.bench.fill import Filling, Kind, Series
from lab.bench.fill_messages import fill_embedded, send_consumed
from lab.bench.open_pages import OpenPages, watch
from lab.bench.sut import SystemUnderTest
from ops import stories
from ops.errors import CommandFailed

LIMIT = 200.0  # ms that the median of a page may take
_KINDS = 100
_SPAN = 2 * 86_400_000  # ms over which the orders were placed; messages are kept for longer
_ACTIONS = 10_000  # written down, of which one form did 100
_ANSWERED_WITHIN = 30.0  # seconds
_DRILL = "kill-order.deducted"


@dataclass(slots=True)
class Timed:
    """How long a page took, in ms, each time it was asked for, and what it answered with, other than 200."""

    page: Page
    took: list[float] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The page, and what it was asked by."""
        return f"{self.page.rule} {self.page.asked}".rstrip()

    @property
    def wrong(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.statuses != {HTTPStatus.OK}:
            return f"{self.name}: answered with {sorted(self.statuses - {HTTPStatus.OK})} (0: not at all)"
        if median(self.took) > LIMIT:
            return f"{self.name}: {median(self.took):,.0f} ms, more than {LIMIT:g} ms"
        return ""

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self.page), "best": min(self.took), "median": median(self.took), "worst": max(self.took)}


class ConsoleBench:
    """Fills a deployment with settled orders and their messages, and asks its console for every page."""

    def __init__(self, sut: SystemUnderTest, tell: Callable[[str], None], orders: int, messages: int) -> None:
        """Take the system under test, what is told what is done now, and how many orders there are to be.

        `messages`: of so many orders the broker gets the messages, the oldest ones'.
        """
        self._sut, self._tell, self._orders, self._messages = sut, tell, orders, min(orders, messages)
        self._series = Series(Kind.KNOWN, now_ms() - _SPAN, gap=max(1, _SPAN // orders // 2))
        self.messages = 0  # that the broker got

    def fill(self) -> Things:
        """Write all that pages are to find. Raise `OrdersError`, `CommandFailed`."""
        goods = self._sut.new_goods(_KINDS)
        with Filling.open(*self._sut.filled, goods, self._series) as filling:
            filling.add(0, self._orders, self._seldom("orders", self._orders))
        deployment = self._sut.deployment
        if deployment.plan.servers is None:
            tell = self._seldom("messages", self._messages)
            fill_embedded(deployment.directory.root / "broker.db", self._series, self._messages, tell)
            self.messages = self._messages
        else:
            tell = self._seldom("messages", self._messages // 10)
            self.messages = send_consumed(deployment, self._series, self._messages, tell)
        return self._things(goods[0])

    def measure(self, things: Things, runs: int) -> list[Timed]:
        """Ask for each page `runs` times, one at a time, all pages in turn; return them, the slowest first."""
        timed, headers = [Timed(page) for page in pages(self._declared(), things)], self._headers()
        ((host, port),) = self._sut.addresses("console")
        connection = http.client.HTTPConnection(host, port, timeout=_ANSWERED_WITHIN)
        try:
            for run in range(runs):
                self._tell(f"asking for {len(timed)} pages: {run + 1} of {runs}")
                for one in timed:
                    ask(connection, one, headers)
        finally:
            connection.close()
        return sorted(timed, key=lambda one: median(one.took), reverse=True)

    def leave_open(self, seconds: float) -> list[OpenPages]:
        """Keep pages open for so long: of the overview, and of one order that waits to be paid."""
        deployment = self._sut.deployment
        (goods_id,) = self._sut.new_goods(1)
        with deployment.client("bench", ["orders", "admin"]) as client:
            order_id = client.post("order", "/orders", {"items": [{"goods_id": goods_id, "quantity": 1}]})["order_id"]
        (place,) = self._sut.addresses("console")
        overview = ("/", f"/live?after={now_ms()}")
        found = []
        for name, paths in (("the overview", overview), ("an unpaid order", (f"/orders/{order_id}",))):
            self._tell(f"keeping pages of {name} open")
            found.append(watch(name, paths, place, self._headers(), self._sut.pids, seconds))
        return found

    def _headers(self) -> Mapping[str, str]:
        token = self._sut.deployment.token("bench", ["orders", "admin"])
        return {"Cookie": f"{COOKIE}={token}", "Accept": "text/html"}

    def _declared(self) -> Mapping[str, Sequence[str]]:
        """Return the console's pages, of one that is built here as the one that runs was, and not started."""
        service = build(self._sut.deployment.settings("console"))
        try:
            return pages_of(service.api.app)
        finally:
            for stop in service.stop:
                stop()

    def _things(self, goods_id: str) -> Things:
        """Make what there is one of, and name what is in the middle of what there are many of."""
        series, deployment = self._series, self._sut.deployment
        middle = (
            self._messages // 20 * 10
        )  # of a tenth, whose order was closed, the next one's returned, another's paid
        order_id, paid = series.order_id(middle), series.order_id(middle + 2)
        message_id, born_at = self._message(str(order_id))
        with deployment.client("bench", ["orders", "admin"]) as client:
            now = now_ms()
            coupon = {"kind": "amount", "value": 50, "currency": "EUR", "uses": 9, "uses_per_user": 9}
            coupon_id = client.post("coupon", "/coupons", {**coupon, "code": "BENCH"})["coupon_id"]
            times = {"starts_at": rfc3339(now - 3_600_000), "ends_at": rfc3339(now + 3_600_000)}
            terms = {"goods_id": goods_id, "quantity": 9, "unit_price": 99, **times}
            sale_id = client.post("flash", "/flash-sales", terms)["sale_id"]
            purchase_id = client.post("flash", f"/flash-sales/{sale_id}/orders")["request_id"]
            story = write_file(stories.fetch(client, str(order_id)))
        due = series.born_at(middle) + 900_000
        return Things(
            order_id=str(order_id), tx_id=str(series.tx_id(middle)), payment_id=str(paid),
            run_id=str(series.order_id(middle + 1)), message_id=message_id, goods_id=goods_id, coupon_id=str(coupon_id),
            sale_id=str(sale_id), purchase_id=str(purchase_id), batch=str(self._act(message_id)),
            drill_id=self._drill(story),
            coupon_code="BENCH", user=f"user-{middle % _KINDS}", key=str(-order_id), call=str(-order_id - 1),
            from_=_minute(born_at), until=_minute(born_at + 3_600_000), cursor_of_orders=encode_cursor(order_id),
            cursor_of_a_status=encode_cursor(due, order_id), cursor_of_payments=encode_cursor(order_id),
            cursor_of_returns=encode_cursor(order_id), cursor_of_messages=f"{born_at}-{message_id}",
        )  # fmt: skip

    def _message(self, key: str) -> tuple[str, int]:
        """Return the id of an order's message, and when it was born. Raise `CommandFailed`, `BrokerError`."""
        with self._sut.deployment.open_console() as console:
            found = console.find(key=key, limit=1)
        if not found:
            raise CommandFailed(f"The broker has no message of order {key}, which was filled in.")
        return found[0].message_id, found[0].born_at

    def _act(self, message_id: str) -> int:
        """Write down that very much was done through the console; return the id of a form that did some of it."""
        now = now_ms()
        rows = [
            {
                "action_id": number, "batch": number // 100, "at": now - number, "who": "bench", "action": "restock 1",
                "what": message_id if number % 100 == 0 else f"thing {number}", "why": "bench",
                "outcome": Outcome.DONE.value, "detail": "", "effect_at": now,
            }
            for number in range(1, _ACTIONS + 1)
        ]  # fmt: skip
        for some in chunks(rows, 500):
            self._sut.database("console").transact(partial(_insert, rows=some))
        return 1

    def _drill(self, story: str) -> str:
        """Leave a drill that was asked for, with its order's story, and of which there is no more: it has pages too."""
        folder = self._sut.deployment.directory.root / "drills" / "1"
        folder.mkdir(parents=True)
        asked = {"drill": _DRILL, "who": "bench", "began_at": now_ms()}
        (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        (folder / "report.html").write_text("<!doctype html><title>none</title>", encoding="utf-8")
        (folder / "story.html").write_text(story, encoding="utf-8")
        return "1"

    def _seldom(self, what: str, of: int) -> Callable[[int], None]:
        """Tell of each percent of how many there are."""
        told = [0]

        def tell(done: int) -> None:
            if done * 100 // max(1, of) > told[0]:
                told[0] = done * 100 // max(1, of)
                self._tell(f"filling in: {done:,} of {of:,} {what}")

        return tell


def ask(connection: http.client.HTTPConnection, timed: Timed, headers: Mapping[str, str]) -> None:
    """Ask for a page once more, on a connection that is kept, and add how long the whole answer took.

    One that does not come, or not within the connection's time, is noted as status 0.
    """
    began, status = time.perf_counter(), 0
    try:
        connection.request("GET", timed.page.path, headers=dict(headers))
        answer = connection.getresponse()
        answer.read()
        status = HTTPStatus.OK if _leads_on(answer) else answer.status
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again
    timed.took.append((time.perf_counter() - began) * 1000)
    timed.statuses.add(status)


def _leads_on(answer: http.client.HTTPResponse) -> bool:
    """Whether it leads to another page, which is an answer: as of the payment of an order. The login is none."""
    return answer.status == HTTPStatus.SEE_OTHER and not str(answer.getheader("Location")).startswith("/login")


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(actions), rows)


def _minute(at: int) -> str:
    """Write a time as the page's form does."""
    return rfc3339(at)[:16]
