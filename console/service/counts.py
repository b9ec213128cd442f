"""What an order instance counts, read from its metrics, and what was added between two looks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from common.errors import PeerUnavailable

_PLACED: Final = "orders_placed_total"
_LATENCY: Final = "orders_http_request_seconds_bucket"
_PLACING: Final = "/orders"


@dataclass(frozen=True, slots=True)
class Counts:
    """Since a process started: orders that somebody tried to place by outcome, and answers by how long they took.

    `slower` is cumulative: by an upper bound in seconds, how many answers took at most so long.
    """

    placed: Mapping[str, float]
    slower: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Added:
    """What was added between two looks; `took` counts each answer once, at the upper bound of how long it took."""

    placed: Counter[str]
    took: Counter[float]


def read(text: str) -> Counts:
    """Read metrics. Raise `PeerUnavailable` for what is none."""
    placed: dict[str, float] = {}
    slower: dict[float, float] = {}
    try:
        for sample in _samples(text):
            if sample.name == _PLACED:
                placed[sample.labels["outcome"]] = sample.value
            elif sample.name == _LATENCY and sample.labels.get("route") == _PLACING:
                slower[float(sample.labels["le"])] = sample.value
    except (ValueError, KeyError):
        raise PeerUnavailable("Its metrics can't be read.") from None
    return Counts(placed, slower)


def _samples(text: str) -> Iterable[Sample]:
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)


def added(before: Counts, after: Counts) -> Added:
    """Return what was added; of a process that began anew in between, all that it counted since."""
    if sum(after.placed.values()) < sum(before.placed.values()) or _all(after) < _all(before):
        before = Counts({}, {})
    placed = Counter({name: round(value - before.placed.get(name, 0)) for name, value in after.placed.items()})
    took: Counter[float] = Counter()
    until = 0
    for bound in sorted(after.slower):
        more = round(after.slower[bound] - before.slower.get(bound, 0))
        took[bound] = more - until
        until = more
    return Added(placed, took)


def _all(counts: Counts) -> float:
    return counts.slower.get(inf, 0)


def percentile(took: Counter[float], share: float) -> float | None:
    """Return the upper bound of how long `share` of the answers took, in seconds; None where there were none."""
    left = took.total() * share
    if left == 0:
        return None
    for bound in sorted(took):
        left -= took[bound]
        if left <= 1e-9:  # noqa: PLR2004 - a rounding error, where a share of a whole number is meant
            return bound
    return inf
