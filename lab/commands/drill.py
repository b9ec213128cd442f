"""`./scripts/drill`."""

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
import structlog
from rich.console import Console
from rich.table import Table

from halfmessage.clock import now_ms
from lab.drill import catalogue, page
from lab.drill.backing import Embedded
from lab.drill.drill import Drill, ServerKind
from lab.drill.event_log import written_to
from lab.drill.real import Real
from lab.drill.result import Report, Result
from lab.drill.runner import Tell, play_all, system
from lab.drill.screen import Screen
from lab.drill.slot import Slot, claim_directory
from lab.report import files
from ops import options, terminal
from ops.commands.subcommands import imported

_LANES = 2  # deployments side by side: a drill mostly waits
_INTERRUPTED = 130  # as a shell says of Ctrl-C


class _Drills(click.Command):
    """`./scripts/drill NAME...`, and beside it what is no drill by name: `./scripts/drill random`, `… mutants`."""

    others: ClassVar[dict[str, str]] = {
        "edn": "lab.commands.drill_edn",
        "mutants": "lab.commands.drill_mutants",
        "mutate": "lab.commands.drill_mutate",
        "power-loss": "lab.commands.drill_power_loss",
        "random": "lab.commands.drill_random",
    }

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the other command's context, where its name comes first: it is then what is invoked."""
        if args and args[0] in self.others:
            other = imported(self.others[args[0]])
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("drill", cls=_Drills)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Every drill: what breaks, where, what must hold.")
@click.option("--all", "everything", is_flag=True, help="Play all drills.")
@click.option("--real", is_flag=True, is_eager=True, help="On a RocketMQ, MariaDB and Redis that are started for it.")
@options.rocketmq
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Report for programs, to a file."
)
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Report for people, to one HTML file."
)
@click.option(
    "--events",
    "events_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What happens, as it happens, to a file: one JSON object a line.",
)
@click.option(
    "--story",
    "story_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of one drill: the story of its order so far, every second, as a file that a browser opens.",
)
@click.option("--brief", is_flag=True, help="One line a drill.")
@click.option(
    "--lanes", type=click.IntRange(1, 8), default=_LANES, show_default=True, help="Deployments played on side by side."
)
@click.option(
    "--stretch",
    type=click.FloatRange(1, 100),
    default=1.0,
    help="Multiply the limits of recovery, on a machine that is busy with something else.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="A new or empty directory for the deployments.  [default: a temporary one]",
)
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    listed: bool,
    everything: bool,
    real: bool,
    rocketmq: str | None,
    json_file: Path | None,
    html_file: Path | None,
    events_file: Path | None,
    story_file: Path | None,
    brief: bool,
    lanes: int,
    stretch: float,
    data_dir: Path | None,
) -> None:
    """Break things on a private deployment, with real processes and real kill -9, and see what holds.

    A drill touches only what it started itself. Exit code 0 only if everything held, within the time that is stated.
    One that fails keeps its deployment's data and prints how to repeat it. `./scripts/drill random` makes drills up,
    `./scripts/drill mutants` plants bugs and sees that tests catch them; both have options of their own.

    \b
    Examples:
      ./scripts/drill --list
      ./scripts/drill kill-order.deducted
      ./scripts/drill --all --html report.html
    """
    servers = ServerKind.REAL if real else ServerKind.EMBEDDED
    out = terminal.console()
    if listed:
        _list(out, catalogue.on(servers) if real else list(catalogue.DRILLS))
        return
    if bool(names) == everything:
        raise click.UsageError("Name the drills to play, or say --all; --list shows them.")
    if story_file is not None and len(names) != 1:
        raise click.UsageError("--story is of one drill: name it alone.")
    drills = catalogue.on(servers) if everything else catalogue.named(names, servers)
    slots = _slots(data_dir, servers, 1 if real else min(lanes, len(drills)), rocketmq)
    again = _again(servers, rocketmq)
    screen = Screen(out, len(drills), brief=brief, prefixed=len(slots.lanes) > 1)
    tell = screen.event if events_file is None else written_to(events_file, screen.event)
    report = _play(screen, drills, servers, slots, again, tell, stretch=stretch, story_file=story_file)
    files.write(out, report.as_json(), lambda: page.render(report), json_file=json_file, html_file=html_file)
    ctx.exit(1 if report.failed else 0)


def _again(servers: ServerKind, rocketmq: str | None) -> str:
    """Return the command that plays one drill again, with a place for its name."""
    version = f" --rocketmq {rocketmq}" if rocketmq else ""
    return "./scripts/drill {}" + (f" --real{version}" if servers is ServerKind.REAL else "")


def _list(out: Console, drills: Sequence[Drill]) -> None:
    table = Table(title=f"{len(drills)} drills", title_justify="left")
    for heading in ("drill", "what breaks", "where", "what must hold", "servers"):
        table.add_column(heading, overflow="fold")
    for drill in drills:
        table.add_row(drill.name, drill.breaks, drill.where, drill.holds, drill.servers.value)
    out.print(table)


@dataclass(frozen=True, slots=True)
class _Slots:
    """Where one run plays; `doomed` is deleted after it, interrupted or not, if nothing failed."""

    run: Path
    doomed: Path
    lanes: list[Slot]


def _slots(data_dir: Path | None, servers: ServerKind, lanes: int, rocketmq: str | None) -> _Slots:
    """Return where drills are played, each lane in a directory of its own. Raise `CommandFailed`."""
    root = claim_directory(data_dir or Path(tempfile.mkdtemp(prefix="orders-drill-")))
    run = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=root))
    lane_dirs = [run / f"lane-{number}" for number in range(1, lanes + 1)]
    slots = [
        Slot(d, backing=Real(d, rocketmq=rocketmq) if servers is ServerKind.REAL else Embedded()) for d in lane_dirs
    ]
    return _Slots(run, root if data_dir is None else run, slots)


def _play(
    screen: Screen,
    drills: Sequence[Drill],
    servers: ServerKind,
    slots: _Slots,
    again: str,
    tell: Tell,
    *,
    stretch: float,
    story_file: Path | None,
) -> Report:
    forget_settings()
    log_to(slots.run / "drill.log")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    screen.begin(f"Playing {len(drills)} drills in {slots.run}")
    began, began_at, results = time.monotonic(), now_ms(), list[Result]()
    played = play_all(
        drills,
        slots.lanes,
        tell,
        repeat=lambda drill: again.format(drill.name),
        stretch=stretch,
        story_file=story_file,
    )
    try:
        with screen.progress():
            for result in played:
                results.append(result)
                screen.result(result)
    except KeyboardInterrupt:
        click.echo("Interrupted; stopping what runs ...", err=True)
        played.close()
        if all(result.passed for result in results):
            shutil.rmtree(slots.doomed, ignore_errors=True)
        raise SystemExit(_INTERRUPTED) from None
    order = {drill.name: number for number, drill in enumerate(drills)}
    results.sort(key=lambda result: order[result.name])
    report = Report(began_at, time.monotonic() - began, servers.value, system(), results)
    screen.summary(report)
    if not report.failed:
        shutil.rmtree(slots.doomed, ignore_errors=True)
    return report


def log_to(file: Path) -> None:
    """Keep what our own connections to broken brokers log out of the way of what is told."""
    logging.basicConfig(filename=file, force=True)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file.open("a", encoding="utf-8")))


def forget_settings() -> None:
    """Drop the user's ORDERS_ variables: the deployments of drills get settings of their own, and no others."""
    for name in [name for name in os.environ if name.startswith("ORDERS_")]:
        del os.environ[name]
