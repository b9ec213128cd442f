"""The dashboard for Grafana, in docker/grafana: rendered from the metrics that our code makes.

First what to look at when something is wrong, then every other metric, so that none is forgotten. The format is that of
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.metric_names import Family, families

_NAME: Final = re.compile(r"\borders_\w+")
_WIDTH, _HEIGHT = 8, 7  # of 24 columns; Grafana counts rows of 30 pixels
_SCHEMA: Final = 39  # of Grafana 10.4 and newer, which migrate it themselves
_RATE: Final = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: its queries by what the legend calls their answers."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    description: str = ""


_FIRST: Final = (
    Panel("Orders placed, by outcome", {"{{outcome}}": f"sum by (outcome) (rate(orders_placed_total{_RATE}))"}, "ops"),
    Panel(
        "Time to answer POST /orders",
        {
            f"p{share}": f"histogram_quantile(0.{share}, sum by (le) "
            f'(rate(orders_http_request_seconds_bucket{{job="order",route="/orders"}}{_RATE})))'
            for share in (50, 99)
        },
        "s",
    ),
    Panel(
        "Share of server errors",
        {
            "{{job}}": f'(sum by (job) (rate(orders_http_requests_total{{status=~"5.."}}{_RATE})) or '
            f"0 * sum by (job) (rate(orders_http_requests_total{_RATE}))) / "  # there is no series before the first one
            f"sum by (job) (rate(orders_http_requests_total{_RATE}))"
        },
        "percentunit",
    ),
    Panel(
        "Steps of the protocol, p99",
        {
            "{{job}} {{step}}": "histogram_quantile(0.99, "
            f"sum by (le, job, step) (rate(orders_step_seconds_bucket{_RATE})))"
        },
        "s",
    ),
    Panel(
        "Half messages open, and the age of the oldest",
        {
            "open": "max(orders_half_messages_unresolved)",
            "oldest, s": "max(orders_half_message_oldest_seconds)",
            "parked": "max(orders_half_messages_parked)",
            "dead letters": "max(orders_dead_letters)",
        },
    ),
    Panel(
        "What sweeps found",
        {"{{finding}}": "sum by (finding) (increase(orders_sweep_findings_total[10m]))"},
        description="violations: never. released: rollbacks are lost on their way.",
    ),
    Panel(
        "Instances left alone, and discovery",
        {
            "{{peer}} {{instance}}": "max by (peer, instance) (orders_peer_left_alone) > 0",
            "{{job}} without discovery": "1 - min by (job) (orders_discovery_up)",
        },
    ),
    Panel(
        "Money under way",
        {"refunds": "max(orders_refunds_under_way)", "events": "max(orders_payment_events_unhandled)"},
    ),
    Panel("Processes", {"{{job}}": "count by (job) (up == 1)"}),
)


def render() -> str:
    """Return the dashboard as JSON. Raise `ValueError` where a panel is about a metric that there is not."""
    known = families()
    panels = [*_FIRST, *(_panel_of(family) for name, family in known.items() if name not in _named(_FIRST, known))]
    return json.dumps(_dashboard(panels), indent=2) + "\n"


def names_in(text: str) -> set[str]:
    """Return the metrics that queries name, as they stand there."""
    return set(_NAME.findall(text))


def _named(panels: Sequence[Panel], known: Mapping[str, Family]) -> set[str]:
    """Return the families that panels are about. Raise `ValueError`."""
    by_series = {family.series: name for name, family in known.items()}
    named = set().union(*(names_in(query) for panel in panels for query in panel.queries.values()))
    if strangers := sorted(named - by_series.keys()):
        raise ValueError(f"No code makes the metric {strangers[0]}.")
    return {by_series[series] for series in named}


def _panel_of(family: Family) -> Panel:
    by = ", ".join(("job", *family.labels))
    legend = " ".join(f"{{{{{label}}}}}" for label in ("job", *family.labels))
    title = family.description.rstrip(".")
    unit = "s" if "seconds" in family.name else "short"
    if family.kind == "counter":
        return Panel(title, {legend: f"sum by ({by}) (rate({family.series}{_RATE}))"}, "ops", family.name)
    if family.kind == "histogram":
        query = f"histogram_quantile(0.99, sum by (le, {by}) (rate({family.series}{_RATE})))"
        return Panel(f"{title}, p99", {legend: query}, unit, family.name)
    name = family.name.removeprefix("orders_").replace("_", " ")
    return Panel(name[0].upper() + name[1:], {legend: f"max by ({by}) ({family.series})"}, unit, title)


def _dashboard(panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "uid": "orders",
        "title": "Orders",
        "description": "Written by ./scripts/render from ops/dashboard.py: change it there.",
        "tags": ["orders"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_json(number, panel) for number, panel in enumerate(panels)],
    }


def _json(number: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    column, row = number % (24 // _WIDTH), number // (24 // _WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
