"""What a bench found: as tables, and as a document for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from halfmessage.clock import now_ms, rfc3339
from lab.bench.figures import Figure, Measured
from lab.bench.machine import Machine
from lab.bench.meter import OTHERS, Usage

SCHEMA = 1  # of the JSON document; raised when something in it changes its meaning
_MB = 2**20


def document(
    command: str,
    machine: Machine,
    settings: Mapping[str, Any],
    measured: Sequence[Measured],
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return everything, for JSON: loads with all their runs, and `facts` that are not a load's."""
    return {
        "schema": SCHEMA,
        "command": command,
        "at": rfc3339(now_ms()),
        "machine": asdict(machine),
        "settings": dict(settings),
        "measured": [load.as_json() for load in measured],
        "facts": dict(facts or {}),
        "wrong": [line for load in measured for line in load.wrong],
    }


def show(out: Console, measured: Sequence[Measured]) -> None:
    """Print a table of loads, then one of what their processes took."""
    out.print(_loads(measured))
    out.print(_processes(measured))
    for line in dict.fromkeys(line for load in measured for line in load.wrong):
        out.print(f"[red]wrong[/]: {line}")


def _loads(measured: Sequence[Measured]) -> Table:
    table = Table(title="Median of the runs, lowest to highest", title_justify="left")
    for heading in ("load", "per second", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors", "load, ms CPU", "ledger"):
        table.add_column(heading, justify="left" if heading in {"load", "errors", "ledger"} else "right")
    for load in measured:
        cost = Figure.of([run.load_cpu for run in load.runs])
        table.add_row(
            load.title,
            _figure(load.per_second, "{:,.0f}"),
            *(_figure(load.time(name), "{:,.1f}") for name in ("p50", "p90", "p99")),
            f"{longest.high:,.0f}" if (longest := load.time("max")) else "",
            ", ".join(f"{number:,} x {kind}" for kind, number in load.errors.items()) or "none",
            f"{cost.median:.3f}",
            "[red]WRONG[/]" if load.wrong else "exact",
        )
    return table


def _processes(measured: Sequence[Measured]) -> Table:
    usages = [load.usage() for load in measured]
    names = [name for name in dict.fromkeys(name for usage in usages for name in usage) if name != OTHERS]
    table = Table(title="Processors kept busy, and most memory (MB, PSS; RSS where it says so)", title_justify="left")
    table.add_column("load")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("all", justify="right")
    table.add_column(OTHERS, justify="right")
    for load, usage in zip(measured, usages, strict=True):
        total = sum(taken.cores for name, taken in usage.items() if name != OTHERS)
        others = usage.get(OTHERS)
        cells = [_usage(usage.get(name)) for name in names]
        table.add_row(load.title, *cells, f"{total:.2f}", f"{others.cores:.2f}" if others else "")
    return table


def _usage(usage: Usage | None) -> str:
    if usage is None:
        return ""
    return f"{usage.cores:.2f}  {usage.memory / _MB:,.0f}" + ("" if usage.is_pss else " RSS")


def _figure(figure: Figure | None, form: str) -> str:
    if figure is None:
        return ""
    median, low, high = (form.format(value) for value in (figure.median, figure.low, figure.high))
    return median if low == high else f"{median} ({low}-{high})"
