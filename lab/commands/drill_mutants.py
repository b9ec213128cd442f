"""`./scripts/drill mutants`."""

import os
import time
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lab.drill.mutants import runner
from lab.drill.mutants.catalogue import MUTANTS, named
from lab.drill.mutants.mutant import Mutant
from lab.drill.mutants.runner import Result, Verdict
from ops import terminal

Part = tuple[int, int]
"""Which one of how many."""

_MOST_PARTS = 16


def _part(text: str | None) -> Part | None:
    if text is None:
        return None
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts) <= _MOST_PARTS):
        raise click.BadParameter(f"{text!r} is none: K/N, with 1 <= K <= N <= {_MOST_PARTS}, such as 2/4.")
    return int(number), int(parts)


@click.command("mutants")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Every planted bug, and the test that must catch it.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=lambda: os.cpu_count() or 1,
    show_default="one a processor",
    help="Tests run at once.",
)
@click.option(
    "--part",
    metavar="K/N",
    callback=lambda _ctx, _parameter, text: _part(text),
    help="Each N-th of them only, K (1 to N) telling which: N runs plant them all.",
)
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], listed: bool, jobs: int, part: Part | None) -> None:
    """Plant bugs, one at a time, and see that a named test catches each. A survivor fails.

    They are planted in the memory of the process that runs the test; no file changes. Needs a clone with its tests.
    Exit code 0 only if every test passes without its bug and fails, or hangs, with it. Up to three that did otherwise
    are tried three times more by themselves; those that do as they should each time are named UNSTABLE.

    \b
    Examples:
      ./scripts/drill mutants
      ./scripts/drill mutants fence-missing --jobs 1
      ./scripts/drill mutants --part 2/4
    """
    out = terminal.console()
    mutants = named(names) if names else list(MUTANTS)
    if part is not None:
        mutants = mutants[part[0] - 1 :: part[1]]
    if listed:
        _list(out, mutants)
        return
    began = time.monotonic()
    health = runner.healthy(mutants, jobs=jobs)
    if health.failed is not None:
        out.print(health.failed, markup=False, soft_wrap=True)
        raise click.ClickException("A test fails without any bug planted; nothing can be said about mutants.")
    results = runner.again(_run(out, mutants, jobs))
    survivors = [result for result in results if not result.caught]
    _show(out, results)
    for survivor in survivors:
        out.print(f"\n{survivor.mutant.name}: {survivor.mutant.test}", style="bold red", markup=False, soft_wrap=True)
        out.print(survivor.output, markup=False, soft_wrap=True)
    missed = [result.mutant.test for result in results if result.verdict is Verdict.UNSTABLE]
    for test in (*health.unstable, *missed):
        out.print(f"UNSTABLE: {test}", style="bold yellow", markup=False, soft_wrap=True)
    seconds = time.monotonic() - began
    caught = len(results) - len(survivors)
    out.print(
        f"{caught} of {len(results)} planted bugs were caught, in {seconds:.0f} s; without them every test passes."
    )
    ctx.exit(1 if survivors else 0)


def _run(out: Console, mutants: Sequence[Mutant], jobs: int) -> list[Result]:
    order = {mutant.name: number for number, mutant in enumerate(mutants)}
    results = []
    with Progress(console=out, disable=not out.is_terminal) as progress:
        bar = progress.add_task("planting", total=len(mutants))
        for result in runner.run_all(mutants, jobs=jobs):
            results.append(result)
            progress.update(bar, advance=1, description=result.mutant.name)
    return sorted(results, key=lambda result: order[result.mutant.name])


def _list(out: Console, mutants: Sequence[Mutant]) -> None:
    table = Table(title=f"{len(mutants)} planted bugs", title_justify="left")
    for heading in ("mutant", "what is wrong", "caught by"):
        table.add_column(heading, overflow="fold")
    for mutant in mutants:
        table.add_row(mutant.name, mutant.breaks, mutant.test)
    out.print(table)


def _show(out: Console, results: Sequence[Result]) -> None:
    table = Table(title="Planted bugs", title_justify="left")
    for heading in ("mutant", "what is wrong", "test", "verdict", "s"):
        table.add_column(heading, overflow="fold")
    for result in results:
        verdict = f"[green]{result.verdict}[/]" if result.caught else f"[bold red]{result.verdict.upper()}[/]"
        test = result.mutant.test.rpartition("::")[2].replace("[", r"\[")
        table.add_row(result.mutant.name, result.mutant.breaks, test, verdict, f"{result.seconds:.1f}")
    out.print(table)
