"""`./scripts/drill edn`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lab.drill.nemesis import jepsen
from lab.drill.nemesis.campaign import FAULTS, FINAL
from lab.drill.nemesis.history import load
from lab.drill.nemesis.run import HISTORY
from ops.errors import CommandFailed

EDN = "history.edn"


@click.command("edn")
@click.argument(
    "runs", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def command(runs: Sequence[Path]) -> None:
    """Write the histories of random runs as Jepsen does, for checkers of others: EDN, one operation a line.

    DIR is a run's directory, as a run leaves it that failed, or each with --keep. history.edn is written beside the
    history.jsonl in it.

    \b
    Example:
      ./scripts/drill random --runs 5 --keep --data-dir runs
      ./scripts/drill edn runs/*/seed-*
    """
    for run in runs:
        lines = _operations(run)
        (run / EDN).write_text("".join(f"{line}\n" for line in jepsen.written(lines)), encoding="utf-8")
        unknown = sum(line["type"] == "info" and line["process"] is not jepsen.NEMESIS for line in lines)
        calls = sum(line["type"] == "invoke" for line in lines)
        click.echo(f"{run / EDN}: {calls} operations, the outcome of {unknown} unknown")


def _operations(run: Path) -> list[jepsen.Operation]:
    try:
        history = load((run / HISTORY).read_text(encoding="utf-8").splitlines())
        return jepsen.operations(history, _kept(run / FAULTS) or (), _kept(run / FINAL))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{run} holds no history of a random run: {error!r}.") from error


def _kept(file: Path) -> Any:
    """Return what is in a file of JSON, None where there is none: a run that could not be finished has no end."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
