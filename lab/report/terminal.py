"""What is said on a terminal of one result, and of all of them."""

from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from lab.report.report import Outcome, Report

T = TypeVar("T", bound=Outcome)


def verdict(outcome: Outcome) -> str:
    """Return the word for it, as markup."""
    return "[green]passed[/]" if outcome.passed else "[bold red]FAILED[/]"


def say_again(out: Console, evidence: str | None, again: str) -> None:
    """Say where the evidence of a failure is, and how to repeat it."""
    kept = [f"  evidence: {evidence}"] if evidence else []
    out.print(*kept, f"  again:    {again}", sep="\n", markup=False, soft_wrap=True)


def sum_up(
    out: Console, report: Report[T], what: str, *, told: list[str], near: Callable[[T], str], why: Callable[[T], str]
) -> None:
    """Show the sum: how many `what` passed, `told`, which was nearest to its limit, and why any failed."""
    results, failed = report.results, report.failed
    colour = "red" if failed else "green"
    out.print(f"\n[{colour}]{len(results) - len(failed)} of {len(results)} {what} passed, {report.took:.0f} s[/]")
    nearest = [] if report.nearest is None else [f"Nearest to its limit: {near(report.nearest)}"]
    for line in (*told, *nearest, *(f"Failed: {why(result)}" for result in failed)):
        out.print(line, markup=False, soft_wrap=True)
