"""`./scripts/simulate`."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import click
from rich.console import Console
from rich.table import Table

from lab.drill.mutants.catalogue import MUTANTS, named
from lab.simulate import asked, hunting, shrinking
from lab.simulate.hunting import Find
from lab.simulate.plan import Plan, plan_of
from lab.simulate.run import Outcome, Simulator
from lab.simulate.side_by_side import MOST_JOBS, Ran, alone, side_by_side
from lab.simulate.telling import timeline
from lab.simulate.templates import templates
from ops import terminal
from ops.errors import CommandFailed

_MOST_SEEDS: Final = 10_000_000
_TELLS_EVERY: Final = 15.0  # seconds
_APART: Final = 1_000_000  # seeds between two bases
_MOST_FAILURES: Final = 10  # of one call: what fails more often than that fails for one reason


def _with_fixed_hashes() -> None:
    """Begin anew with the hashes of text that every run of a seed has: sets of it are looked at in their order."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(  # noqa: S606 # nosec B606 - ourselves
            sys.executable, [sys.executable, "-m", "lab", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )


@click.group("simulate", invoke_without_command=True)
@click.option("--seeds", type=click.IntRange(1, _MOST_SEEDS), default=1000, show_default=True, help="How many runs.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--minutes", type=click.FloatRange(min=0.01), help="Stop after so many, however many runs that were.")
@click.option("--seed", type=click.IntRange(min=0), help="Make this one run only.")
@click.option(
    "--jobs",
    type=click.IntRange(1, MOST_JOBS),
    default=1,
    show_default=True,
    help="Of --seeds: processes that make runs side by side. A seed's run is the same.",
)
@click.option("--show", is_flag=True, help="Of --seed: its history, and the timeline of each order.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of --seed: its history to a file, as JSON lines.",
)
@click.option(
    "--edn",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of --seed: what clients asked and were told to a file, as Jepsen writes it: for checkers of others.",
)
@click.option("--mutant", metavar="NAME", help="Plant a bug of ./scripts/drill mutants first.")
@click.pass_context
def command(
    ctx: click.Context,
    seeds: int,
    first: int,
    minutes: float | None,
    jobs: int,
    seed: int | None,
    show: bool,
    history: Path | None,
    edn: Path | None,
    mutant: str | None,
) -> None:
    """Run the services in one process on a virtual clock, and break something at every step a seed says.

    Order with its returns, stock, coupon, pay, the embedded broker and the sweep, one step at a time: calls are lost,
    doubled and late, statements fail, processes die at failpoints and in COMMIT. Then nothing breaks any more, time
    jumps until all is at rest, and the judge of the drills looks at the databases. The same seed is the same history,
    to the byte. A seed that fails is made small and told. Exit code 0 only if none fails.

    \b
    Examples:
      ./scripts/simulate --seeds 1000
      ./scripts/simulate --seeds 100000 --jobs 8
      ./scripts/simulate --seed 17 --show
      ./scripts/simulate mutants
    """
    if ctx.invoked_subcommand is not None:
        return
    _with_fixed_hashes()
    out = terminal.console()
    with ExitStack() as stack:
        files = stack.enter_context(templates())
        if mutant is not None:
            named([mutant])[0].plant()
        many = None
        if seed is None and jobs > 1:
            many = stack.enter_context(side_by_side(range(first, first + seeds), jobs, files))
            files = stack.enter_context(templates(files))
        simulator = Simulator(files)
        stack.enter_context(simulator.ready())
        if seed is not None:
            failed = _one(out, simulator, seed, show=show, history=history, edn=edn)
        else:
            failed = _many(out, simulator, many or alone(simulator, range(first, first + seeds)), minutes, mutant)
    ctx.exit(1 if failed else 0)


def _one(out: Console, simulator: Simulator, seed: int, *, show: bool, history: Path | None, edn: Path | None) -> bool:
    outcome = simulator.run(plan_of(seed))
    if show:
        for line in outcome.history.lines():
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        _tell_orders(out, outcome)
    if history is not None:
        history.write_text("".join(f"{line}\n" for line in outcome.history.lines()), encoding="utf-8")
    if edn is not None:
        from lab.drill.nemesis import jepsen  # noqa: PLC0415 - its library is not loaded for very many runs

        lines = jepsen.written(jepsen.operations(outcome.asked, asked.faults(outcome), outcome.final))
        edn.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _tell_plan(out, outcome.plan)
    _tell_wrong(out, outcome)
    out.print(
        f"seed {seed}: {len(outcome.history):,} events in {outcome.seconds:.0f} virtual seconds, {outcome.steps:,} "
        f"steps, SHA-256 {outcome.history.digest()}",
        soft_wrap=True,
    )
    return bool(outcome.wrong)


def _many(out: Console, simulator: Simulator, many: Iterator[Ran], minutes: float | None, mutant: str | None) -> bool:
    """Tell which of many runs fail, each by making it again here, and how fast they go by processors' clocks."""
    began, told, cpu = time.monotonic(), time.monotonic(), 0.0
    done, failures = 0, 0
    for ran in many:
        done, cpu = done + 1, cpu + ran.seconds
        if ran.failed:
            failures += 1
            outcome = simulator.run(plan_of(ran.seed))
            if not outcome.wrong:
                raise CommandFailed(f"Seed {ran.seed} failed, and did not once more: its runs are not the same.")
            _tell_failure(out, simulator, outcome, mutant)
        now = time.monotonic()
        if now - told > _TELLS_EVERY:
            told = now
            out.print(_progress(done, failures, cpu), highlight=False)
        if failures == _MOST_FAILURES or (minutes is not None and now - began > 60 * minutes):
            break
    out.print(_progress(done, failures, cpu), highlight=False)
    return failures > 0


def _progress(done: int, failures: int, cpu: float) -> str:
    rate = 60 * done / max(0.001, cpu)
    return f"{done:,} runs, {failures} failed, {rate:,.0f} a minute of one processor"


def _tell_failure(out: Console, simulator: Simulator, outcome: Outcome, mutant: str | None) -> None:
    plan = outcome.plan
    planted = "" if mutant is None else f" --mutant {mutant}"
    out.print(
        f"\nSeed {plan.seed} fails; again: ./scripts/simulate --seed {plan.seed} --show{planted}", style="bold red"
    )
    (kind, *_) = outcome.kinds
    small = shrinking.shrunk(plan, lambda candidate: kind in simulator.run(candidate).kinds)
    least = simulator.run(small)
    out.print(f"As small as it gets: {len(small.faults)} of {len(plan.faults)} faults, {len(small.wishes)} orders.")
    _tell_plan(out, small)
    _tell_wrong(out, least)
    _tell_orders(out, least)


def _tell_plan(out: Console, plan: Plan) -> None:
    out.print(
        f"Orders stand for {plan.pay_timeout:g} s unpaid; {plan.check_max} check-backs at most; "
        f"{'with' if plan.sweeps else 'without'} a sweep.",
        highlight=False,
    )
    for what, ones in (("order", plan.wishes), ("fault", plan.faults)):
        for one in ones:
            out.print(f"  {what}: {one}", markup=False, highlight=False, soft_wrap=True)


def _tell_wrong(out: Console, outcome: Outcome) -> None:
    for line in outcome.wrong:
        out.print(f"WRONG: {line}", style="bold red", markup=False, soft_wrap=True)


def _tell_orders(out: Console, outcome: Outcome) -> None:
    for title, lines in timeline(outcome.history):
        out.print(f"\n{title}", style="bold", markup=False)
        for line in lines:
            out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


@command.command("mutants")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--runs", type=click.IntRange(1, _MOST_SEEDS), default=10_000, show_default=True, help="Of each, at most."
)
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option(
    "--bases", type=click.IntRange(1, 99), default=1, show_default=True, help=f"Begin so often, {_APART:,} seeds apart."
)
@click.pass_context
def mutants(ctx: click.Context, names: tuple[str, ...], runs: int, first: int, bases: int) -> NoReturn:
    """Plant the bugs of `./scripts/drill mutants`, one at a time, and tell how many runs it takes to find each.

    Only those whose code is simulated. Runs that don't come to that code are counted, and not made. Exit code 0 only
    if each is found from each base.
    """
    _with_fixed_hashes()
    out = terminal.console()
    chosen = named(names) if names else [one for one in MUTANTS if hunting.is_simulated(one)]
    finds = []
    for find in (
        one for each in range(bases) for one in hunting.hunted(chosen, first=first + each * _APART, runs=runs)
    ):
        finds.append(find)
        what = f"seed {find.seed}, after {find.runs:,} runs" if find.seed is not None else f"not in {find.runs:,} runs"
        out.print(f"{find.name}: {what}", markup=False, highlight=False, soft_wrap=True)
    _show(out, finds)
    ctx.exit(0 if all(find.seed is not None for find in finds) else 1)


def _runs_of(find: Find) -> tuple[bool, int]:
    return find.seed is None, find.runs


def _told(find: Find) -> str:
    return f"{find.runs:,}" if find.seed is not None else f"[bold]none in {find.runs:,}[/]"


def _show(out: Console, finds: list[Find]) -> None:
    table = Table(title="Time to find", title_justify="left")
    for heading in ("planted bug", "runs (median)", "of each base", "CPU s", "what was seen"):
        table.add_column(heading, overflow="fold")
    by_name: dict[str, list[Find]] = {}
    for find in sorted(finds, key=_runs_of):
        by_name.setdefault(find.name, []).append(find)
    for name, found in by_name.items():
        middle = found[(len(found) - 1) // 2]
        said, seconds = found[0].said.replace("[", r"\["), sum(find.seconds for find in found)
        table.add_row(name, _told(middle), " ".join(map(_told, found)), f"{seconds:.1f}", said)
    out.print(table)
    whole = sum(all(find.seed is not None for find in each) for each in by_name.values())
    out.print(f"{whole} of {len(by_name)} planted bugs in simulated code were found.")
