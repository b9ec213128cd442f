"""What the overview is told: numbers where a service said them, and silence where none did."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from common.errors import PeerUnavailable
from common.process import Service
from console.clients.broker import Messages
from console.clients.instances import Instance, Readiness
from console.service import counts
from console.service.counts import Counts, added, percentile
from console.service.looking import Looks, Silent
from console.service.overview import Overview
from halfmessage.errors import BrokerError
from tests.unit.console_site import Browser, running, token

METRICS = """# TYPE orders_placed counter
orders_placed_total{outcome="created"} %d
# TYPE orders_http_request_seconds histogram
orders_http_request_seconds_bucket{le="0.01",route="/orders"} %d
orders_http_request_seconds_bucket{le="+Inf",route="/orders"} %d
orders_http_request_seconds_bucket{le="+Inf",route="/healthz"} 99
"""


class Played(Instance):
    """An instance that says what a test has it say."""

    def __init__(self, name: str = "order") -> None:
        super().__init__("order", name, "http://127.0.0.1:9", lambda: "")
        self.says: str | Exception = METRICS % (0, 0, 0)
        self.checks: dict[str, str] | Exception = {"database": "ok"}

    def readiness(self) -> Readiness:
        if isinstance(self.checks, Exception):
            raise self.checks
        return Readiness("failed" not in self.checks.values(), self.checks)

    def metrics(self) -> str:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def refused() -> Any:
    raise BrokerError("The broker does not answer.")


@pytest.fixture
def order() -> Played:
    return Played()


@pytest.fixture
def overview(order: Played) -> Iterator[Overview]:
    with closing(Overview([order], Messages(refused), lists_delayed=True)) as made:
        yield made


def test_metrics_are_read() -> None:
    """Orders by outcome, and the answers on /orders alone."""
    assert counts.read(METRICS % (3, 2, 3)) == Counts({"created": 3}, {0.01: 2, inf: 3})


@pytest.mark.parametrize("text", ["orders_placed_total{ 1", "orders_placed_total 1", "<html>"])
def test_what_is_no_metrics_is_silence(text: str) -> None:
    """Not zero orders."""
    with pytest.raises(PeerUnavailable):
        counts.read(text)


def test_what_was_added() -> None:
    """Each answer is counted once, where it belongs; a process that began anew has added what it counts."""
    before, after = counts.read(METRICS % (3, 2, 3)), counts.read(METRICS % (5, 3, 7))
    assert added(before, after).placed == Counter(created=2)
    assert added(before, after).took == Counter({0.01: 1, inf: 3})
    assert added(after, before).placed == Counter(created=3)


def test_percentiles_are_upper_bounds() -> None:
    """What is known is the bucket: that nine of ten took at most so long. Of nothing there is none."""
    took: Counter[float] = Counter({0.01: 90, 0.1: 9, inf: 1})
    assert [percentile(took, share) for share in (0.5, 0.9, 0.95, 0.99, 1.0)] == [0.01, 0.01, 0.1, 0.1, inf]
    assert percentile(Counter(), 0.5) is None


def test_an_instance_that_is_silent_is_not_counted_as_zero(overview: Overview, order: Played) -> None:
    """Rates are told from the second look on, and not while no service tells them."""
    assert overview._look().rates is None
    order.says = METRICS % (4, 4, 4)
    look = overview._look()
    assert look.rates is not None
    assert look.rates["created"] > 0
    assert look.latency == {"p50": 0.01, "p95": 0.01, "p99": 0.01}
    order.says = PeerUnavailable("order does not answer.")
    look = overview._look()
    assert (look.rates, look.not_counted) == (None, ["order"])
    assert [point.rates is None for point in overview.points(0)] == [True, False, True]


def test_a_broker_that_is_silent_is_shown_as_that(overview: Overview) -> None:
    """Not as nothing to do."""
    look = overview._look()
    assert look.stats == look.delayed == look.backlog == Silent("The broker does not answer.")


def test_which_check_fails(overview: Overview, order: Played) -> None:
    """Of one that answers, and which do not; one that does not answer has no checks at all."""
    order.checks = {"database": "ok", "broker": "failed"}
    (found,) = overview._look().instances
    assert (found.failing, found.well) == (["broker"], ["database"])
    order.checks = PeerUnavailable("order does not answer.")
    (found,) = overview._look().instances
    assert (found.failing, found.well, found.why) == (None, (), "order does not answer.")


def test_all_who_ask_share_a_look(overview: Overview) -> None:
    """However many pages are open, each process is asked once; idle ticks ask seldom."""
    first = overview.now()
    assert all(overview.now() is first for _ in range(50))
    overview.tick()
    assert len(overview.points(0)) == 2
    overview._asked_at = float("-inf")
    overview.tick()
    assert len(overview.points(0)) == 2


def test_a_source_that_hangs_holds_no_other_up() -> None:
    """It is silent until it has answered, and is not asked again meanwhile."""
    go_on, asked = threading.Event(), []

    def hanging() -> str:
        asked.append(1)
        go_on.wait(10)
        return "late"

    with closing(Looks(within=0.05)) as looks:
        for _ in range(2):
            assert looks.at({"a": hanging, "b": lambda: "b"}) == {"a": Silent("no answer within 0.05 s"), "b": "b"}
        assert asked == [1]
        go_on.set()
        looks._running["a"].result(5)
        assert looks.at({"a": lambda: "again"}) == {"a": "again"}


def test_a_fault_of_ours_hides_nothing_else() -> None:
    """The source says so, the others say what they say."""
    with closing(Looks(within=5)) as looks:
        found = looks.at({"a": lambda: 1 // 0, "b": lambda: 2})
    assert found["b"] == 2
    assert "a fault of the console itself" in found["a"].why


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path, broker_url="rocketmq://127.0.0.1:9") as service:
        yield service


def test_the_page_says_what_is_not_known(console: Service) -> None:
    """With no service and no broker there is not one number on it."""
    page = Browser(console, token()).get("/").text
    assert page.count("not known</dd>") == 5
    assert page.count("unreachable") == 8
    assert "The broker does not tell" in page
    assert "<dd>0</dd>" not in page
    assert "Not known yet" in page


def test_the_chart_has_gaps_where_nothing_is_known(console: Service) -> None:
    """Not a line at zero; only later points are told again."""
    browser = Browser(console, token())
    browser.get("/")
    points = browser.client.get("/live").get_json()
    assert points["placed"] == points["failed"] == [None]
    assert browser.client.get(f"/live?after={points['at'][0]}").get_json()["at"] == []
    assert browser.client.get("/live?after=x").status_code == 400
