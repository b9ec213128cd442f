"""`orders sagas`: the returns of a deployment, and what an operator does about those that don't get on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from halfmessage.saga.model import RunState
from ops import options
from ops.deployment import Deployment

_STATES: Final = tuple(state.value for state in RunState)
_MOST: Final = 100  # runs of one page

_run_id = click.argument("run_id", metavar="RUN", type=click.IntRange(1, 2**63 - 1))
_why = click.option("--why", required=True, help="The reason, which is kept with the run: 1 to 480 characters.")


@click.group("sagas")
def command() -> None:
    """Look at sagas, which are the returns of orders: retry, give up, skip a step.

    \b
    Examples:
      orders sagas list
      orders sagas show 385491685699747840
      orders sagas retry 385491685699747840
      orders sagas skip 385491685699747840 refund --why "sent by bank transfer"
    """


@command.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Those in a state.  [default: those that have not ended]")
@click.option("--limit", type=click.IntRange(1, _MOST), default=20, show_default=True, help="At most so many.")
@options.data_dir
@options.as_json
def list_sagas(state: str | None, limit: int, data_dir: Path, as_json: bool) -> None:
    """List runs, the newest first: RUN, state, saga, key (of a return: its order), steps not done."""
    asked = {"limit": limit} | ({} if state is None else {"state": state})
    with Deployment.find(data_dir).client("orders-sagas", ["admin"]) as client:
        page = client.get("order", "/admin/sagas", **asked)
    if as_json:
        click.echo(json.dumps(page["items"], indent=2))
        return
    for run in page["items"]:
        click.echo(f"{run['run_id']}  {run['state']:8}  {run['saga']}  {run['key']}  {_left(run)}")
    if page["next_cursor"] is not None:
        click.echo(f"There are more than {limit}: --limit shows up to {_MOST}, the console all.", err=True)


@command.command("show")
@_run_id
@options.data_dir
@options.as_json
def show(run_id: int, data_dir: Path, as_json: bool) -> None:
    """Show a run: each step with its state, how often it failed, and its last error."""
    with Deployment.find(data_dir).client("orders-sagas", ["admin"]) as client:
        _tell(client.get("order", f"/admin/sagas/{run_id}"), as_json=as_json)


@command.command("retry")
@_run_id
@options.data_dir
@options.as_json
def retry(run_id: int, data_dir: Path, as_json: bool) -> None:
    """Have the next try of RUN now, whatever it waits for."""
    _do(data_dir, f"/admin/sagas/{run_id}/retry", None, as_json=as_json)


@command.command("give-up")
@_run_id
@_why
@options.data_dir
@options.as_json
def give_up(run_id: int, why: str, data_dir: Path, as_json: bool) -> None:
    """Try nothing more of RUN. A return can't be undone: it ends as it is, and what is not done is left to you."""
    _do(data_dir, f"/admin/sagas/{run_id}/give-up", {"why": why}, as_json=as_json)


@command.command("skip")
@_run_id
@click.argument("step")
@_why
@options.data_dir
@options.as_json
def skip(run_id: int, step: str, why: str, data_dir: Path, as_json: bool) -> None:
    """Take STEP of RUN for done: you have seen to it by hand."""
    _do(data_dir, f"/admin/sagas/{run_id}/skip", {"step": step, "why": why}, as_json=as_json)


def _do(data_dir: Path, path: str, body: Mapping[str, str] | None, *, as_json: bool) -> None:
    with Deployment.find(data_dir).client("orders-sagas", ["admin"]) as client:
        _tell(client.post("order", path, body), as_json=as_json)


def _left(run: Mapping[str, Any]) -> str:
    """Return the steps that are not done, with how often they failed."""
    waiting = [step for step in run["steps"] if step["state"] == "waiting"]
    return ", ".join(f"{step['name']} ({step['tries']} failed)" for step in waiting)


def _tell(run: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(run, indent=2))
        return
    why = "" if run["why"] is None else f": {run['why']}"
    click.echo(f"{run['saga']} of {run['key']}, run {run['run_id']}, begun {run['begun_at']}: {run['state']}{why}")
    for step in run["steps"]:
        error = "" if step["last_error"] is None else f": {step['last_error']}"
        again = "" if step["next_try_at"] is None else f", next try {step['next_try_at']}"
        click.echo(f"  {step['name']:10} {step['state']:9} {step['tries']} failed{again}{error}")
