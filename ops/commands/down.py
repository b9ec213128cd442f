"""`orders down`."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import click

from ops import options, real, runstate
from ops.deployment import Deployment
from ops.errors import CopiedDeployment, NoDeployment
from ops.places import DataDir
from ops.plan import Servers
from ops.runstate import Phase
from ops.stack import Stack
from ops.stack.zipkin import Zipkin
from ops.supervisor import is_alive
from ops.waiting import wait_for

_WITHIN = 15.0  # seconds; as long as one process may take, beside each process that runs


@click.command("down")
@options.data_dir
@click.option(
    "--all", "everything", is_flag=True, help="Also the servers of `up --real`, and the Zipkin of `up --trace`."
)
def command(data_dir: Path, everything: bool) -> None:
    """Stop all services, gracefully, and return once they have stopped.

    The real servers of `up --real` run on, others may use them too, and so does the Zipkin of `up --trace`: `orders
    down --all` or `orders stack down` stops them.

    \b
    Examples:
      orders down
      orders down --all
    """
    place = DataDir(data_dir.absolute())
    _stop_services(place)
    _tell_of_zipkin(real.stack_dir(data_dir), everything=everything)
    servers = _servers(place)
    if servers is None or not servers.stack:
        return
    if everything:
        Stack(Path(servers.stack), say=click.echo).down()
        click.echo(f"Its servers in {servers.stack} are stopped.")
    elif Stack(Path(servers.stack)).runs():
        click.echo(f"Its servers run on; stop them with: {real.hint(Path(servers.stack), 'down')}")


def _tell_of_zipkin(stack: Path, *, everything: bool) -> None:
    """Stop the Zipkin of `up --trace` with everything else, or say that it runs on."""
    if (url := Zipkin(stack).url) is None:
        return
    if everything:
        Stack(stack, say=click.echo).stop_zipkin()
        click.echo("Zipkin is stopped.")
    else:
        click.echo(f"Its traces are at {url} while Zipkin runs; stop it with: {real.hint(stack, 'down')}")


def _servers(place: DataDir) -> Servers | None:
    try:
        plan = Deployment.find(place.root).plan
    except (NoDeployment, CopiedDeployment):
        return None
    return None if plan.joined else plan.servers


def _stop_services(place: DataDir) -> None:
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
    wait_for(
        "the processes of a killed supervisor to end", lambda: not any(map(place.has_process, pids)), within=patience
    )
    stopped = tuple(replace(process, state=Phase.STOPPED, pid=None) for process in state.processes)
    runstate.save(place.state_file, replace(state, supervisor=None, processes=stopped))
