"""The bench of the console asks for every page, and judges each by its median and its status."""

import http.client
import sqlite3
import threading
from contextlib import closing
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from common.registry import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from console.pages.site import pages_of
from halfmessage.clock import now_ms
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import BrokerOptions, State
from lab.bench.console import LIMIT, Timed, ask
from lab.bench.console_pages import Page, Things, pages
from lab.bench.fill import Kind, Series
from lab.bench.fill_messages import fill_embedded
from ops.errors import CommandFailed
from tests.unit.console_site import running

THINGS = Things(**{one.name: f"the-{one.name}" for one in fields(Things)})


def test_every_page_is_asked_for(tmp_path: Path) -> None:
    """Those that the console declares, drills included: by nothing, and by each parameter that it takes."""
    with running(tmp_path, console_data_dir=tmp_path, console_drills=True) as service:
        declared = pages_of(service.api.app)
        found = list(pages(declared, THINGS))
    assert {one.rule for one in found} == set(declared) >= {"/", "/find", "/drills/<id:drill_id>", "/sagas"}
    assert {f"{one.rule} {one.asked}" for one in found} >= {
        "/orders cursor cursor of orders", "/messages group stock", "/find q key", "/sales open true",
        "/messages group stock, state done",
    }  # fmt: skip
    paths = [one.path for one in found]
    assert "/orders/the-order_id" in paths
    assert "/find?q=the-purchase_id" in paths
    assert len(set(paths)) == len(paths)
    assert not [path for path in paths if "<" in path or "{" in path]


@pytest.mark.parametrize("declared", [{"/new": ("q",)}, {"/messages": ("colour",)}, {"/new/<id:new_id>": ()}])
def test_a_page_that_nothing_is_known_of_is_not_left_out(declared: dict[str, tuple[str, ...]]) -> None:
    """Who adds one is told where to say what it is asked by."""
    with pytest.raises(CommandFailed, match=r"say in lab/bench/console_pages\.py"):
        list(pages(declared, THINGS))


@pytest.mark.parametrize(
    ("took", "status", "wrong"),
    [
        ([LIMIT * 5, LIMIT, 1.0], 200, ""),
        ([LIMIT * 5, LIMIT + 1, 1.0], 200, "/x: 201 ms, more than 200 ms"),
        ([1.0], 404, "/x: answered with [404] (0: not at all)"),
    ],
)
def test_a_page_is_judged(took: list[float], status: int, wrong: str) -> None:
    """By its median, and by whether it is there."""
    assert Timed(Page("/x", "", "/x"), took, {status}).wrong == wrong


def test_a_page_is_timed_until_all_of_it_is_there() -> None:
    """With the cookie, on a connection that is kept; its status is noted."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Cookie"] == "a=b" else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        timed = Timed(Page("/x", "", "/x"))
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        for _ in range(2):
            ask(connection, timed, {"Cookie": "a=b"})
        connection.close()
        server.shutdown()
        thread.join()
    assert (len(timed.took), timed.statuses) == (2, {200})
    assert min(timed.took) > 0
    ask(connection, timed, {"Cookie": "a=b"})
    assert (len(timed.took), timed.statuses) == (3, {200, 0})


def test_messages_that_settled_orders_left(tmp_path: Path) -> None:
    """One of each order, found by its key; consumed where the order was closed, and given to no consumer again."""
    file, series = tmp_path / "broker.db", Series(Kind.KNOWN, now_ms() - 3_600_000, gap=10)
    with closing(EmbeddedBroker(file, BrokerOptions())) as broker:
        with closing(sqlite3.connect(file)) as raw:
            subscriptions = [(ROLLBACK_TOPIC, "stock"), (TIMEOUT_TOPIC, "order")]
            raw.executemany("INSERT INTO subscriptions (topic, consumer_group) VALUES (?, ?)", subscriptions)
            raw.commit()
        told: list[int] = []
        fill_embedded(file, series, 100, told.append)
        console = broker.console()
        assert told == [100]
        (live,) = console.find(key=str(series.order_id(51)))
        assert (live.state, live.groups) == (State.DONE, ())
        assert (live.born_at, live.message.properties["tx_id"]) == (series.born_at(51), str(series.tx_id(51)))
        (closed,) = console.find(key=str(series.order_id(50)))
        assert [(one.group, one.state) for one in closed.groups] == [("stock", State.DONE)]
        lying = {state: len(console.find(state=state)) for state in (State.DEAD, State.PARKED, State.DELAYED)}
        assert lying == {State.DEAD: 10, State.PARKED: 10, State.DELAYED: 10}
        assert [group.waiting for group in console.backlog()] == [0, 0]
