"""The dashboard's queries, asked of a Prometheus that has scraped a deployment: each is answered, with its legend."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import dashboard
from ops.metric_names import families
from tests.e2e.shop import Shop, pay, placed
from tests.prometheus_server import Prometheus
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("what Prometheus reads does not depend on other servers")]

SEEN = "orders_http_requests_total"


@pytest.fixture
def prometheus(shop: Shop, tmp_path: Path) -> Iterator[Prometheus]:
    """Run one, until the end of the test."""
    token = shop.bearer()["Authorization"].removeprefix("Bearer ")
    server = Prometheus(shop.deployment.plan.urls, token, tmp_path)
    yield server
    server.close()


def test_every_query_is_answered(shop: Shop, prometheus: Prometheus) -> None:
    """None is refused, and the legend names all labels of what is found.

    Nothing is found by those alone that count what did not happen, or tell by labels what there is none of: how else it
    stands, and how long it takes, is there.
    """
    user, tea = shop.user(), shop.goods(stock=50)
    eventually(lambda: prometheus.has_seen(SEEN, 2), within=30)
    for _ in range(3):
        pay(user, placed(user, {tea: 1})["order_id"])
    eventually(lambda: prometheus.has_seen(SEEN, 5), within=30)
    made = families().values()
    absent = {one.series for one in made if one.kind == "counter" or (one.kind == "gauge" and one.labels)} - {SEEN}
    for panel in json.loads(dashboard.render())["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m")
            found = prometheus.ask(query)
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(legend >= series["metric"].keys() for series in found), (panel["title"], found[:3])
            may_be_empty = dashboard.names_in(query) <= absent or query.endswith("> 0")
            assert found or may_be_empty, (panel["title"], query)
