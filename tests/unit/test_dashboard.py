"""Dashboards and alerts are about metrics that exist, and the former about all of them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry, generate_latest

from common.telemetry import Metrics
from ops import dashboard, docker
from ops.metric_names import families
from ops.places import PACKAGES
from tests.prometheus_server import tool

RENDERED = PACKAGES / "docker" / "grafana" / "orders.json"
ALERTS = PACKAGES / "docker" / "prometheus" / "alerts.yml"
QUERIES = [target["expr"] for panel in json.loads(dashboard.render())["panels"] for target in panel["targets"]]


def test_it_is_up_to_date() -> None:
    """What docker/ has is what `./scripts/render` writes."""
    assert RENDERED.read_text(encoding="utf-8") == dashboard.render() == docker.files()["grafana/orders.json"]


def test_grafanas_own_types_know_every_field() -> None:
    """What they do not know, as a name that is misspelt, is lost when they read it; Grafana would pass it over."""
    register_default_plugins()
    read = Dashboard.from_json(json.loads(dashboard.render()))
    assert not list(_lost(json.loads(dashboard.render()), json.loads(JSONEncoder().encode(read))))


def _lost(written: Any, read: Any, where: str = "") -> Iterator[str]:
    """Yield what is not there any more, or is another value; what was read has defaults besides."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            yield from _lost(value, read.get(name), f"{where}/{name}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (value, again) in enumerate(zip(written, read, strict=True)):
            yield from _lost(value, again, f"{where}/{number}")
    elif written != read:
        yield where


def test_units_are_grafanas() -> None:
    """An unknown one would be shown as text behind each number."""
    known = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
    panels = json.loads(dashboard.render())["panels"]
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in panels} <= known


def test_every_metric_is_on_it_and_every_name_on_it_exists() -> None:
    """By its own name, or that which its kind gives it."""
    series = {family.series for family in families().values()}
    assert set().union(*map(dashboard.names_in, QUERIES)) == series


def test_every_label_in_a_query_exists() -> None:
    """A misspelt label makes an empty graph."""
    known = {label for family in families().values() for label in family.labels} | {"job", "le"}
    for query in QUERIES:
        for by in re.findall(r"by \(([\w, ]+)\)", query):
            assert set(by.split(", ")) <= known, query
        for label in re.findall(r"[{,](\w+)=~?\"", query):
            assert label in known, query


def test_alerts_name_series_that_exist() -> None:
    """With the ending that their kind gives them: an alert on another name never fires."""
    series = {family.series for family in families().values()}
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    named = set().union(*(dashboard.names_in(rule["expr"]) for rule in rules))
    assert "orders_discovery_up" in named
    assert named <= series


def test_a_panel_about_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering fails, before a person looks at it."""
    lost = dashboard.Panel("Lost", {"it": "sum(orders_lost_total)"})
    monkeypatch.setattr(dashboard, "_FIRST", (lost,))
    with pytest.raises(ValueError, match="No code makes the metric orders_lost_total"):
        dashboard.render()


def test_names_are_those_that_prometheus_sees() -> None:
    """What the source is read for is what a scrape shows, kind by kind."""
    known, metrics = families(), Metrics("goods")
    metrics.requests.labels("GET", "/", "200").inc()
    metrics.latency.labels("/").observe(0.1)
    scraped = generate_latest(metrics.registry).decode()
    for name in ("orders_http_requests", "orders_http_request_seconds", "orders_http_requests_in_flight"):
        assert f"\n{known[name].series}" in scraped, name
    assert isinstance(metrics.registry, CollectorRegistry)


def test_queries_are_understood_by_prometheus(tmp_path: Path) -> None:
    """As rules, which is how promtool takes them."""
    promtool = tool("promtool")
    rules = [
        {"record": f"orders:q{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
