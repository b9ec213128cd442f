"""`orders keys`: the keys of a deployment's own processes."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from common.own_keys import OWNERS
from halfmessage.clock import rfc3339
from ops import options
from ops.errors import NoDeployment
from ops.keys import KeyStore
from ops.places import DataDir

_place = click.option(
    "--keys",
    "place",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory of the keys, where there is no data directory: in a container.",
)


@click.group("keys")
def command() -> None:
    """Look at the keys with which services and the operator sign, rotate them, and end what was before them.

    \b
    Examples:
      orders keys list
      orders keys rotate order
      orders keys rotate operator --withdraw
      orders keys refuse-hs256
    """


@command.command("list")
@_place
@options.data_dir
@options.as_json
def list_keys(place: Path | None, data_dir: Path, as_json: bool) -> None:
    """List the public keys that are good: whose, their names, and when they end."""
    lines = _store(place, data_dir).lines()
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    for line in lines:
        ends = "signs" if line.ends_at is None else f"ends {rfc3339(int(line.ends_at * 1000))}"
        click.echo(f"{line.owner}  {line.kid}  {ends}")


@command.command("rotate")
@click.argument("owner", type=click.Choice(OWNERS))
@click.option("--withdraw", is_flag=True, help="It was stolen: the old key ends within seconds, with all its tokens.")
@_place
@options.data_dir
def rotate(owner: str, withdraw: bool, place: Path | None, data_dir: Path) -> None:
    """Make a new key for OWNER, which signs within seconds; nothing is restarted, and no call is refused.

    Tokens of the old key are good until they end, but no longer than a day.
    """
    made = _store(place, data_dir).rotate(owner, withdraw=withdraw)
    click.echo(f"{owner} signs with {made.kid}.")


@command.command("refuse-hs256")
@options.data_dir
def refuse_hs256(data_dir: Path) -> None:
    """Take no token of the shared secret any more, from the next start on."""
    place = DataDir(data_dir.absolute())
    place.state()
    place.refuse_hs256()
    click.echo(f"Tokens of the secret are refused from the next start on: {place.hint('up')}")


def _store(place: Path | None, data_dir: Path) -> KeyStore:
    """Return the keys. Raise `NoDeployment` where there are none."""
    store = KeyStore(place) if place is not None else DataDir(data_dir.absolute()).keys
    if not store.public.exists():
        raise NoDeployment(f"There are no keys in {store.root}.")
    return store
