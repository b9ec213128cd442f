"""`./scripts/drill mutate`."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from lab.drill.mutants import runner
from lab.drill.mutants.generic import campaign
from lab.drill.mutants.generic.forks import Asked, Found
from lab.drill.mutants.generic.justified import justified, stale
from lab.drill.mutants.generic.tests_of import FILE, TestsOf
from ops import terminal

_SHARE_OF_FASTER = 0.7  # of the time; what survives the faster tests of its line is then tried by the slower ones


@click.command("mutate")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--since", metavar="COMMIT", help="Only lines changed since this commit and the present one parted.")
@click.option(
    "--minutes", type=click.FloatRange(0.1, 24 * 60), default=60.0, show_default=True, help="Time to try changes."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order in which changes are tried.")
@click.option("--only", metavar="TEXT", help="Only changes whose name has this in it.")
@click.option(
    "--justified", "listed", is_flag=True, help="Try only what is listed as justified; what is caught needs no reason."
)
@click.option("--fresh", is_flag=True, help="Find out anew which test runs which line.")
@click.option(
    "--report",
    type=click.File("w", encoding="utf-8", lazy=False),
    help="Write what became of each to a file, one a line, as it comes.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=lambda: os.cpu_count() or 1,
    show_default="one a processor",
    help="Changes tried at once.",
)
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    since: str | None,
    minutes: float,
    seed: int,
    only: str | None,
    listed: bool,
    fresh: bool,
    report: TextIO | None,
    jobs: int,
) -> None:
    """Change the core by rule, one small thing at a time, and see that tests notice. A survivor fails.

    Comparisons, conditions, numbers, arguments, calls, statements and their order, errors that are caught: each is
    changed in the memory of a process of its own, which then runs the tests of that line, fastest first. Which test
    runs which line is found out first and kept in the clone. What may survive is listed with its reason in
    lab/drill/mutants/generic/justified.toml. Lines that only tests on real servers run are told, and not tried.
    Exit code 0 only if nothing survived that is not listed there, and nothing is listed that is not there.

    \b
    Examples:
      ./scripts/drill mutate order/service/placing.py
      ./scripts/drill mutate --since HEAD~5 --minutes 4
    """
    out, root = terminal.console(), runner.root()
    known, unknown = justified(), stale(root)
    for key in unknown:
        out.print(f"Listed as justified, but no change of the code as it is: {key}", markup=False, soft_wrap=True)
    lines = None if since is None else campaign.changed_lines(root, since)
    found = campaign.on_lines(root, campaign.chosen(root, paths), lines)
    found = [m for m in found if (m.key in known) == listed and (only is None or only in m.key)]
    if found:
        out.print("Finding out which test runs which line, where that is not known ...")
        campaign.record(root, sorted({mutation.function.file for mutation in found}), fresh=fresh)
    plan = campaign.plan(campaign.drawn(found, seed), TestsOf.load(root / FILE))
    results = [Found(mutation.key, "untested", "", 0.0) for mutation in plan.untested]

    def note(result: Found) -> None:
        if report is not None:
            print(result.verdict, result.key, result.by, sep="\t", file=report, flush=True)

    for result in results:
        note(result)
    results += _Trying(out, root, jobs, minutes * 60, note).all(plan)
    _tell(out, results, len(found))
    wrong = {"caught", "hung", "died"} if listed else {"survived", "unfit"}
    ctx.exit(1 if unknown or any(result.verdict in wrong for result in results) else 0)


@dataclass(frozen=True)
class _Trying:
    """How changes are tried."""

    out: Console
    root: Path
    jobs: int
    seconds: float
    note: Callable[[Found], None]
    """Told what was found of each, as it comes."""

    def all(self, plan: campaign.Plan) -> list[Found]:
        """Try each change by its faster tests, then what survived them by the slower ones, as far as the time goes."""
        began = time.monotonic()
        results = self._by(plan.asked, _SHARE_OF_FASTER * self.seconds)
        survived = [key for key, result in results.items() if result.verdict == "survived"]
        again = [plan.slower[key] for key in survived if key in plan.slower]
        if again:
            self.out.print(f"{len(again)} of {len(results)} survived their faster tests; trying the slower ones ...")
        return list((results | self._by(again, began + self.seconds - time.monotonic())).values())

    def _by(self, asked: Sequence[Asked], seconds: float) -> dict[str, Found]:
        results: dict[str, Found] = {}
        if not asked or seconds <= 0:
            return results
        with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=self.out) as progress:
            bar = progress.add_task("trying", total=len(asked))
            for result in campaign.tried(self.root, asked, jobs=self.jobs, seconds=seconds):
                results[result.key] = result
                self.note(result)
                progress.update(bar, advance=1, description=result.key.split(": ")[0].rpartition("/")[2])
        return results


def _tell(out: Console, results: Sequence[Found], of: int) -> None:
    unreached = Counter(result.key.split(": ")[0] for result in results if result.verdict == "untested")
    for function, number in sorted(unreached.items()):
        out.print(f"no test of these runs  {function}: {number} changes", markup=False, soft_wrap=True)
    counted = Counter(result.verdict for result in results)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counted.most_common()) or "none"
    for result in results:
        if result.verdict == "survived":
            out.print(f"survived  {result.key}", markup=False, soft_wrap=True)
    out.print(f"{len(results)} of {of} changes tried: {told}.")
