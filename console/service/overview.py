"""How everything is: one look at all sources, shared by all who ask, and the last ten minutes of them."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from console.clients.broker import Messages
from console.clients.instances import Instance, Readiness
from console.service.counts import Added, Counts, added, percentile, read
from console.service.looking import Looks, Silent
from halfmessage.clock import now_ms
from halfmessage.mq.port import Backlog, BrokerStats, State

EVERY: Final = 2.0  # seconds between two looks while somebody looks on
IDLE: Final = 10.0  # seconds between two looks otherwise, for the chart
_LOOKED_AT: Final = 60.0  # seconds after the last who asked
_FRESH: Final = 3.0  # seconds that a look is good for
_WITHIN: Final = 2.5  # seconds for all sources: each has a deadline of its own before
_KEPT: Final = 300  # points of the chart: ten minutes
_MINUTE: Final = 60_000  # ms
MOST_DELAYED: Final = 200  # that are counted; there are "so many or more"


@dataclass(frozen=True, slots=True)
class InstanceLook:
    """A process, and what it says of what it needs: `failing` (None where it says nothing) and `well`, by name."""

    service: str
    name: str
    url: str
    failing: Sequence[str] | None
    why: str = ""
    well: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """What was added since the look before, per second; `rates` None: no instance of order told."""

    at: int
    rates: Mapping[str, float] | None
    took: Counter[float]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything. What is `Silent` could not be learnt."""

    at: int
    instances: Sequence[InstanceLook]
    stats: BrokerStats | Silent
    delayed: int | Silent
    backlog: Sequence[Backlog] | Silent
    not_counted: Sequence[str]
    rates: Mapping[str, float] | None
    latency: Mapping[str, float] | None


class Overview:
    """Looks at everything. Thread-safe."""

    def __init__(self, instances: Sequence[Instance], messages: Messages, *, lists_delayed: bool) -> None:
        """Take every process, and the broker; `lists_delayed`: whether it can list delayed messages at all."""
        self._instances, self._messages, self._lists_delayed = instances, messages, lists_delayed
        self._looks = Looks(within=_WITHIN)
        self._guard = threading.Lock()
        self._before: dict[str, tuple[float, Counts]] = {}
        self._points: deque[Point] = deque(maxlen=_KEPT)
        self._last: Look | None = None
        self._looked_at = self._asked_at = float("-inf")

    def now(self) -> Look:
        """Return the last look, at most `_FRESH` seconds old: all who ask at once share it."""
        self._asked_at = time.monotonic()
        with self._guard:
            if self._last is None or time.monotonic() - self._looked_at > _FRESH:
                self._last = self._look()
            return self._last

    def tick(self) -> None:
        """Look, if it is time to: to be called every `EVERY` seconds."""
        now = time.monotonic()
        with self._guard:
            if now - self._asked_at <= _LOOKED_AT or now - self._looked_at >= IDLE:
                self._last = self._look()

    def points(self, after: int) -> list[Point]:
        """Return the points of the chart later than `after` (ms since the epoch), oldest first."""
        self._asked_at = time.monotonic()
        with self._guard:
            return [point for point in self._points if point.at > after]

    def close(self) -> None:
        """Ask no more."""
        self._looks.close()
        for instance in self._instances:
            instance.close()

    def _look(self) -> Look:
        self._looked_at = time.monotonic()
        heard = self._looks.at(self._sources())
        counted = {one.name: heard[f"counts {one.name}"] for one in self._instances if one.service == "order"}
        point = self._point(counted)
        self._points.append(point)
        return Look(
            at=point.at,
            instances=[_instance(one, heard[f"ready {one.name}"]) for one in self._instances],
            stats=heard["stats"],
            delayed=heard.get("delayed", Silent("RocketMQ lists no delayed messages")),
            backlog=heard["backlog"],
            not_counted=[name for name, counts in counted.items() if isinstance(counts, Silent)],
            rates=point.rates,
            latency=self._latency(point.at),
        )

    def _sources(self) -> dict[str, Callable[[], object]]:
        sources: dict[str, Callable[[], object]] = {
            "stats": lambda: self._messages.console().stats(),
            "backlog": lambda: self._messages.console().backlog(),
        }
        if self._lists_delayed:
            sources["delayed"] = self._delayed
        for one in self._instances:
            sources[f"ready {one.name}"] = one.readiness
            if one.service == "order":
                sources[f"counts {one.name}"] = partial(_counts, one)
        return sources

    def _delayed(self) -> int:
        return len(self._messages.console().find(state=State.DELAYED, limit=MOST_DELAYED))

    def _point(self, counted: Mapping[str, Counts | Silent]) -> Point:
        """Compare with the look before, instance by instance."""
        now, known = time.monotonic(), False
        rates: dict[str, float] = {}
        took: Counter[float] = Counter()
        for name, counts in counted.items():
            if isinstance(counts, Silent):
                continue
            before = self._before.get(name)
            self._before[name] = now, counts
            if before is not None and now > before[0]:
                more = added(before[1], counts)
                _add(rates, more, now - before[0])
                took += more.took
                known = True
        return Point(now_ms(), rates if known else None, took)

    def _latency(self, now: int) -> Mapping[str, float] | None:
        """Return percentiles of the last minute, None where nothing was answered."""
        took: Counter[float] = Counter()
        for point in islice(reversed(self._points), _KEPT):
            if point.at <= now - _MINUTE:
                break
            took += point.took
        found = {name: percentile(took, share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
        return {name: bound for name, bound in found.items() if bound is not None} or None


def _counts(instance: Instance) -> Counts:
    return read(instance.metrics())


def _add(rates: dict[str, float], more: Added, seconds: float) -> None:
    for outcome, number in more.placed.items():
        rates[outcome] = rates.get(outcome, 0.0) + number / seconds


def _instance(one: Instance, heard: Readiness | Silent) -> InstanceLook:
    if isinstance(heard, Silent):
        return InstanceLook(one.service, one.name, one.url, None, heard.why)
    well = sorted(name for name, result in heard.checks.items() if result == "ok")
    return InstanceLook(one.service, one.name, one.url, sorted(heard.checks.keys() - {*well}), well=well)
