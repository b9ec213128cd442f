"""`orders users`: the users of a deployment, its admins, and the keys that sign their tokens."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from halfmessage.clock import rfc3339
from ops import options
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.quiet import quiet
from ops.users import opened
from user.model import LONGEST_PASSWORD, NAME_PATTERN, SHORTEST_PASSWORD

_limit = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many."
)


@click.group("users")
def command() -> None:
    """Look at users, make admins, and rotate the keys that sign tokens.

    \b
    Examples:
      orders users list
      orders users add-admin root
      orders users rotate-keys
    """
    quiet()


@command.command("list")
@_limit
@options.data_dir
@options.as_json
def list_users(limit: int, data_dir: Path, as_json: bool) -> None:
    """List the users, the newest first."""
    with opened(Deployment.find(data_dir)) as users:
        found = users.newest(limit)
    _show([asdict(one) for one in found], as_json=as_json)


@command.command("log-ins")
@_limit
@options.data_dir
@options.as_json
def log_ins(limit: int, data_dir: Path, as_json: bool) -> None:
    """List who logged in, or tried to, the newest first."""
    with opened(Deployment.find(data_dir)) as users:
        found = users.log_ins(limit)
    _show([asdict(one) for one in found], as_json=as_json)


@command.command("add-admin")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, its first line.")
@options.data_dir
def add_admin(name: str, password_stdin: bool, data_dir: Path) -> None:
    """Make NAME an admin: a user that there is, or a new one, whose password is asked for.

    \b
    Examples:
      orders users add-admin root
      pass show orders/root | orders users add-admin root --password-stdin
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise click.BadParameter("3 to 64 of a-z, 0-9, '.', '_' and '-'", param_hint="NAME")
    with opened(Deployment.find(data_dir)) as users:
        if users.has(name):
            if password_stdin:
                raise CommandFailed(f"There is a user {name}, whose password stays theirs: leave out --password-stdin.")
            users.set_admin(name, is_admin=True)
            click.echo(f"{name} is an admin, with the next log-in or refresh.")
            return
        made = users.add_admin(name, _password(from_stdin=password_stdin))
        click.echo(f"Added {made.name}, an admin: {made.user_id}.")


@command.command("remove-admin")
@click.argument("name")
@options.data_dir
def remove_admin(name: str, data_dir: Path) -> None:
    """Make NAME a user as any: log-ins end, and access tokens that are out are good for minutes still."""
    with opened(Deployment.find(data_dir)) as users:
        users.set_admin(name, is_admin=False)
    click.echo(f"{name} is no admin any more.")


@command.command("rotate-keys")
@options.data_dir
def rotate_keys(data_dir: Path) -> None:
    """Have tokens signed with a new key soon; no token ends by it, and nothing is restarted.

    The new key is published first, and signs when all services may have it; the old one goes when its last token has
    ended.
    """
    with opened(Deployment.find(data_dir)) as users:
        made = users.rotate_keys()
    click.echo(f"Key {made.kid} is published, and signs from {rfc3339(made.signs_from)}.")


def _password(*, from_stdin: bool) -> str:
    """Return a password. Raise `BadParameter` where it is shorter or longer than a user's may be."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise click.BadParameter(f"it has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", param_hint="password")
    return password


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo("  ".join("-" if value is None else str(value) for value in row.values()))
