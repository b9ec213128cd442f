"""Figures of runs: exact quantiles of what was recorded, medians of runs and how far apart they were."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.bench.load import Sample
from lab.bench.meter import Usage


@dataclass(frozen=True, slots=True)
class Times:
    """How long requests took, in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float


def times_of(seconds: Sequence[float]) -> Times | None:
    """Return the quantiles of times in seconds; None of none."""
    ordered = sorted(seconds)
    return Times(*(_quantile(ordered, share) * 1000 for share in (0.5, 0.9, 0.99, 1.0))) if ordered else None


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of all is not above (nearest rank: a value that was recorded)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Run:
    """One run under one load."""

    per_second: float
    times: Times | None  # None: nothing was timed one by one
    answered: int
    errors: dict[str, int]
    load_cpu: float  # milliseconds of processor time that the load took for a request
    processes: dict[str, Usage]
    wrong: list[str] = field(default_factory=list)  # what the ledger says


def run_of(sample: Sample, processes: dict[str, Usage], wrong: list[str]) -> Run:
    """Return the figures of a run."""
    return Run(
        per_second=sample.answered / sample.seconds,
        times=times_of(sample.times),
        answered=sample.answered,
        errors=dict(sample.errors),
        load_cpu=sample.cpu / max(1, sample.requests) * 1000,
        processes=processes,
        wrong=wrong,
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of several runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return the median and the extremes."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Measured:
    """A load, and its runs."""

    name: str
    loop: str  # closed, open
    clients: int
    goods: int
    rate: float | None = None
    runs: list[Run] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return f"{self.loop}: {self.name}"

    @property
    def per_second(self) -> Figure:
        """Answers a second that were successes."""
        return Figure.of([run.per_second for run in self.runs])

    def time(self, quantile: str) -> Figure | None:
        """Return p50, p90, p99 or max, in milliseconds; None where nothing was timed."""
        found = [getattr(run.times, quantile) for run in self.runs if run.times is not None]
        return Figure.of(found) if found else None

    @property
    def wrong(self) -> list[str]:
        """What the ledger said after any of the runs."""
        return [line for run in self.runs for line in run.wrong]

    @property
    def errors(self) -> dict[str, int]:
        """Errors of all runs, by kind."""
        found: dict[str, int] = {}
        for run in self.runs:
            for kind, number in run.errors.items():
                found[kind] = found.get(kind, 0) + number
        return found

    def usage(self) -> dict[str, Usage]:
        """Return what each process took: cores of the median run, memory of the one that took most."""
        names = dict.fromkeys(name for run in self.runs for name in run.processes)
        taken = {name: [run.processes[name] for run in self.runs if name in run.processes] for name in names}
        return {
            name: Usage(statistics.median(u.cores for u in usages), most.memory, most.is_pss)
            for name, usages in taken.items()
            for most in [max(usages, key=lambda usage: usage.memory)]
        }

    def as_json(self) -> dict[str, Any]:
        """Return all of it, with what is derived."""
        figures = {name: self.time(name) for name in ("p50", "p90", "p99", "max")}
        quantiles = {name: figure and asdict(figure) for name, figure in figures.items()}
        return asdict(self) | {"per_second": asdict(self.per_second), "milliseconds": quantiles}
