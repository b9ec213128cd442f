"""What every load of `./scripts/bench` does around its own work: progress, the report, the exit code."""

import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import click
import structlog
from rich.console import Console

from lab.bench import chart, machine, report
from lab.bench.figures import Measured
from lab.commands.bench.options import Common
from lab.report import files
from ops import terminal

_INTERRUPTED = 130  # as a shell says of Ctrl-C


@dataclass(slots=True)
class Session:
    """One bench: what it says while it runs, and what it found."""

    command: str
    common: Common
    out: Console
    measured: list[Measured] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # the facts, in words
    wrong: list[str] = field(default_factory=list)
    say: Callable[[str], None] = print
    tell: Callable[[str], None] = print


@contextmanager
def open_session(command: str, common: Common) -> Iterator[Session]:
    """Yield the session; then report what was found. Exit with 1 if a ledger was wrong, or nothing was answered."""
    found = machine.look(common.setup.place)
    out = terminal.console()
    session = Session(command, common, out, say=terminal.sayer(out))
    if found.in_memory:
        out.print(f"[yellow]The data is on {found.file_system}, not on a disk: choose another --place.[/]")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    try:
        with only_warnings(), out.status("starting ...", refresh_per_second=1) as status:
            session.tell = status.update if out.is_terminal else session.say
            yield session
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    finally:
        _report(session, found)
    if session.wrong or any(load.wrong for load in session.measured):
        raise click.exceptions.Exit(1)


@contextmanager
def only_warnings() -> Iterator[None]:
    """Keep what adapters log of their connections out of the report."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.configure(**before)


def _report(session: Session, found: machine.Machine) -> None:
    out, common = session.out, session.common
    measured = [load for load in session.measured if load.runs]
    out.print(found.in_words, markup=False, soft_wrap=True)
    if measured:
        report.show(out, measured)
    for line in session.lines:
        out.print(line, markup=False, soft_wrap=True)
    for line in session.wrong:
        out.print(f"[red]wrong[/]: {line}")
    told = report.document(session.command, found, _settings(common), measured, session.facts)
    told["wrong"] += session.wrong
    files.write(out, told, lambda: chart.draw(told), json_file=common.json, html_file=common.html)


def _settings(common: Common) -> Mapping[str, Any]:
    return asdict(common.setup) | asdict(common.effort)


def no_success(measured: Sequence[Measured]) -> list[str]:
    """Return which loads got not one answer that was a success."""
    return [f"{load.name}: not one success" for load in measured if not any(run.answered for run in load.runs)]
