"""`orders down`."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import click

from ops import options, runstate
from ops.places import DataDir
from ops.runstate import Phase
from ops.supervisor import is_alive
from ops.waiting import wait_for

_WITHIN = 15.0  # seconds; as long as one process may take, beside each process that runs


@click.command("down")
@options.data_dir
def command(data_dir: Path) -> None:
    """Stop what `orders up` started, gracefully, and return once it has stopped.

    \b
    Example:
      orders down
    """
    place = DataDir(data_dir.absolute())
    supervisor = place.lock.holder()
    if supervisor is None:
        _clear(place)
        click.echo(f"Nothing runs in {place.root}.")
        return
    click.echo(f"Stopping the deployment in {place.root} (supervisor {supervisor}) ...")
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    wait_for("the services to stop", lambda: not is_alive(supervisor), within=_patience(place))
    click.echo("Stopped.")


def _patience(place: DataDir) -> float:
    """Return for how many seconds a stop may take: the processes are stopped one after the other."""
    state = runstate.load(place.state_file)
    return _WITHIN * (1 + len(state.processes if state else ()))


def _clear(place: DataDir) -> None:
    """Correct the state file that a killed supervisor left behind, once its processes have ended by themselves."""
    state = runstate.load(place.state_file)
    if state is None or state.supervisor is None:
        return
    pids = [process.pid for process in state.processes if process.pid is not None]
    patience = _patience(place)
    wait_for("the processes of a killed supervisor to end", lambda: not any(map(is_alive, pids)), within=patience)
    stopped = tuple(replace(process, state=Phase.STOPPED, pid=None) for process in state.processes)
    runstate.save(place.state_file, replace(state, supervisor=None, processes=stopped))
