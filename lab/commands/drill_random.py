"""`./scripts/drill random`."""

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from halfmessage.clock import now_ms
from lab.commands.drill import forget_settings, log_to
from lab.drill.backing import Embedded
from lab.drill.drill import ServerKind
from lab.drill.nemesis import planner, report
from lab.drill.nemesis.campaign import Campaign, Lane
from lab.drill.nemesis.plan import Plan
from lab.drill.nemesis.report import Report
from lab.drill.nemesis.run import Run
from lab.drill.real import Real
from lab.drill.runner import system
from lab.drill.slot import claim_directory
from lab.report import files
from lab.report.terminal import say_again, sum_up
from ops import options, terminal
from ops.errors import CommandFailed

_INTERRUPTED = 130  # as a shell says of Ctrl-C
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("random")
@click.option("--runs", type=click.IntRange(1), default=10, show_default=True, help="How many, with consecutive seeds.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the first run.")
@click.option("--real", is_flag=True, is_eager=True, help="On a RocketMQ, MariaDB and Redis that are started for it.")
@options.rocketmq
@click.option("--json", "json_file", type=_FILE, help="Report for programs, to a file.")
@click.option("--html", "html_file", type=_FILE, help="Report for people, to one HTML file.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the plans as JSON, one a line, and play nothing.")
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Play the plan in this file instead."
)
@click.option(
    "--keep", is_flag=True, help="Keep plan, history and final state of every run, not only of those that failed."
)
@click.option("--lanes", type=click.IntRange(1, 8), default=1, show_default=True, help="Deployments side by side.")
@click.option("--stretch", type=click.FloatRange(1, 100), default=1.0,
              help="Multiply the limits of recovery, on a machine that is busy with something else.")  # fmt: skip
@click.option("--shrink-for", type=click.FloatRange(0), default=60.0, show_default=True,
              help="Seconds spent on making the plan of a failing run smaller.")  # fmt: skip
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="A new or empty directory for deployments and evidence.  [default: a temporary one]",
)
@click.pass_context
def command(
    ctx: click.Context,
    runs: int,
    seed: int,
    real: bool,
    rocketmq: str | None,
    json_file: Path | None,
    html_file: Path | None,
    only_plan: bool,
    replay: Path | None,
    keep: bool,
    lanes: int,
    stretch: float,
    shrink_for: float,
    data_dir: Path | None,
) -> None:
    """Break random things under random load, and hold every answer that a client got against all others.

    The same seed is the same plan. Exit code 0 only if no answer was a lie and everything settled within the time that
    is stated. A run that fails keeps its plan, history, logs and databases, and prints the line that repeats it.

    \b
    Examples:
      ./scripts/drill random --runs 200 --seed 1
      ./scripts/drill random --seed 17 --runs 1 --plan
    """
    servers = ServerKind.REAL if real else ServerKind.EMBEDDED
    plans = [_read(replay)] if replay else [planner.make(number, servers) for number in range(seed, seed + runs)]
    if only_plan:
        for plan in plans:
            click.echo(json.dumps(plan.as_json()))
        return
    out = terminal.console()
    root = claim_directory(data_dir or Path(tempfile.mkdtemp(prefix="orders-drill-")))
    base = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=root))
    version = f" --rocketmq {rocketmq}" if rocketmq else ""
    flag = f" --real{version}" if real else ""
    again = f"--replay {replay.absolute()}" if replay else "--runs 1 --seed {}"
    campaign = Campaign(
        base,
        again=lambda number: f"./scripts/drill random {again.format(number)}{flag}",
        again_shrunk=lambda file: f"./scripts/drill random --replay {file}{flag}",
        shrink_for=shrink_for,
        keep_all=keep,
    )
    count = 1 if real else min(lanes, len(plans))
    doomed = None if keep else base if data_dir else root
    found = _play(
        out,
        campaign,
        plans,
        servers,
        [_lane(base / f"lane-{number}", servers, stretch, rocketmq) for number in range(count)],
        doomed,
    )
    _sum_up(out, found)
    files.write(out, found.as_json(), lambda: report.page(found), json_file=json_file, html_file=html_file)
    if doomed is None:
        out.print(f"Plans, histories and final states: {base}", markup=False, soft_wrap=True)
    elif not found.failed:
        shutil.rmtree(doomed, ignore_errors=True)
    ctx.exit(1 if found.failed else 0)


def _read(file: Path) -> Plan:
    try:
        return Plan.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{file} holds no plan: {error!r}.") from error


def _lane(directory: Path, servers: ServerKind, stretch: float, rocketmq: str | None) -> Lane:
    backing = Real(directory, rocketmq=rocketmq) if servers is ServerKind.REAL else Embedded()
    return Lane(directory, backing, lambda _: None, stretch)


def _play(
    out: Console, campaign: Campaign, plans: list[Plan], servers: ServerKind, lanes: list[Lane], doomed: Path | None
) -> Report:
    """Play the plans. Interrupted, with nothing that failed, delete what is `doomed`."""
    forget_settings()
    log_to(campaign.directory / "drill.log")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    out.print(f"Playing {len(plans)} random runs in {campaign.directory}", markup=False, soft_wrap=True)
    began, began_at, runs = time.monotonic(), now_ms(), list[Run]()
    played = campaign.play(plans, lanes)
    try:
        for run in played:
            runs.append(run)
            _show(out, run, len(runs), len(plans))
    except KeyboardInterrupt:
        click.echo("Interrupted; stopping what runs ...", err=True)
        played.close()
        if doomed is not None and all(run.passed for run in runs):
            shutil.rmtree(doomed, ignore_errors=True)
        raise SystemExit(_INTERRUPTED) from None
    runs.sort(key=lambda run: run.plan.seed)
    return Report(began_at, time.monotonic() - began, servers.value, system(), runs)


def _show(out: Console, run: Run, number: int, runs: int) -> None:
    out.print(f"[dim]{number}/{runs}[/] {report.line(run)}", soft_wrap=True)
    if run.passed:
        return
    for wrong in run.wrong[:10]:
        out.print(f"  [red]![/] {escape(wrong)}", soft_wrap=True)
    for fault in run.plan.faults:
        out.print(f"  [dim]{escape(str(fault))}[/]", soft_wrap=True)
    if run.shrunk:
        out.print(f"  shrunk to {len(run.shrunk.faults)} faults and {len(run.shrunk.clients)} clients", soft_wrap=True)
    say_again(out, run.evidence, run.again)


def _sum_up(out: Console, found: Report) -> None:
    skipped = f" (and {found.skipped} that could not be carried out)" if found.skipped else ""
    sum_up(
        out,
        found,
        "runs",
        told=[
            f"Answers: {_counted(found.answers.most_common())}",
            f"Faults:  {_counted(found.injections.most_common())}{skipped}",
        ],
        near=lambda run: (
            f"seed {run.plan.seed}, quiet {run.quiet_after or 0:.1f} s after the last fault (limit {run.limit:g} s)"
        ),
        why=lambda run: f"seed {run.plan.seed}: {run.wrong[0]}",
    )


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number} x {name}" for name, number in counts) or "none"
