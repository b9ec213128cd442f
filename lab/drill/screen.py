"""What drills show on a terminal: what happens as it happens, then each drill's story, then the sum."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from halfmessage.clock import rfc3339
from lab.drill.result import Event, Kind, Report, Result
from lab.report.terminal import say_again, sum_up, verdict
from ops.stories import timeline_table

_SIGNS: Mapping[Kind, str] = {
    Kind.STEP: "[dim]·[/]",
    Kind.FAULT: "[red]✗[/]",
    Kind.MENDED: "[yellow]↺[/]",
    Kind.ANSWER: "[cyan]→[/]",
    Kind.HELD: "[green]✓[/]",
    Kind.BROKEN: "[bold red]![/]",
    Kind.SETTLED: "[green]■[/]",
}


class Screen:
    """One run's output. Lines of several lanes are told apart by the drill's name."""

    def __init__(self, out: Console, drills: int, *, brief: bool, prefixed: bool) -> None:
        """Print to `out`."""
        self._out, self._brief, self._prefixed = out, brief, prefixed
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=out, disable=not out.is_terminal, transient=True)
        self._task = self._bar.add_task("", total=drills)
        self._now: dict[str, str] = {}

    def begin(self, words: str) -> None:
        """Say what is to come."""
        self._out.print(words, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Show a bar while drills are played."""
        with self._bar:
            yield

    def event(self, name: str, event: Event) -> None:
        """Show what a drill does, as it does it."""
        self._now[name] = event.text
        self._bar.update(self._task, description=escape("; ".join(self._now)))
        if not self._brief:
            prefix = f"[dim]{escape(name)}[/] " if self._prefixed else ""
            self._out.print(f"{_clock(event.at)} {prefix}{_SIGNS[event.kind]} {escape(event.text)}", soft_wrap=True)

    def result(self, result: Result) -> None:
        """Show how a drill ended: in a line, and unless brief with its story."""
        self._now.pop(result.name, None)
        self._bar.advance(self._task)
        if not self._brief:
            self._out.print()
            self._out.rule(f"[bold]{escape(result.name)}", align="left")
            self._out.print(f"  breaks  {result.breaks}", f"  where   {result.where}", f"  holds   {result.holds}",
                            sep="\n", markup=False, soft_wrap=True)  # fmt: skip
            self._story(result)
            self._invariants(result)
        self._out.print(line(result), soft_wrap=True)
        if not result.passed:
            self._out.print(f"  {escape(result.reason or '')}", soft_wrap=True)
            say_again(self._out, result.evidence, result.repeat)

    def summary(self, report: Report) -> None:
        """Show the sum."""

        def near(result: Result) -> str:
            return (
                f"{result.name}, settled {result.recovery or 0:.1f} s after the last fault (limit {result.limit:g} s)"
            )

        sum_up(self._out, report, "drills", told=[], near=near, why=lambda result: f"{result.name}: {result.reason}")

    def _story(self, result: Result) -> None:
        if result.story is None:
            return
        title = f"Order {result.order_id}, by GET /orders/{{id}}/timeline"
        self._out.print(timeline_table(title, result.story.entries))
        self._out.print(f"  {result.story.sentence}", markup=False, soft_wrap=True)

    def _invariants(self, result: Result) -> None:
        for invariant in result.invariants:
            sign = "[green]✓[/]" if invariant.holds else "[red]![/]"
            self._out.print(f"{sign} {escape(invariant.name)}", soft_wrap=True)
            figures = ", ".join(f"{name} {number}" for name, number in invariant.figures.items())
            self._out.print(f"    {figures}", *invariant.broken, sep="\n    ", markup=False, soft_wrap=True)


def line(result: Result) -> str:
    """Return a drill's end in one line of markup."""
    recovery = "never settled" if result.recovery is None else f"settled in {result.recovery:.1f} s"
    name = f"[bold]{escape(result.name)}[/]"
    return f"{verdict(result)} {name}, {recovery} (limit {result.limit:g} s), {result.took:.1f} s in all"


def _clock(ms: int) -> str:
    return f"[dim]{rfc3339(ms)[11:-1]}[/]"
