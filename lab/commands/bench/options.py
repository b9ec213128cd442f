"""Options that all loads of `./scripts/bench` share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from lab.bench.bench import Effort
from lab.bench.sut import Setup
from ops import options

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Common:
    """What the options say."""

    setup: Setup
    effort: Effort
    json: Path | None
    html: Path | None


def settings(_: click.Context, parameter: click.Parameter, words: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE."""
    pairs = [word.partition("=") for word in words]
    if wrong := next((name for name, equals, _value in pairs if not equals or not name), None):
        raise click.BadParameter(f"NAME=VALUE, not {wrong!r}", param=parameter)
    return {name.lower().removeprefix("orders_"): value for name, _equals, value in pairs}


_OPTIONS = (
    click.option(
        "--real", is_flag=True, is_eager=True,
        help="On RocketMQ, MariaDB and Redis: a stack of its own (`orders stack`).",
    ),
    click.option(
        "--stack",
        "stack_dir",
        type=_DIRECTORY,
        help="With --real: the data directory of a running stack to use; databases and topics are the bench's own.",
    ),
    options.rocketmq,
    click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Of each run."),
    click.option("--warm-up", type=click.FloatRange(0), default=3.0, show_default=True, help="Seconds not counted."),
    click.option("--runs", type=click.IntRange(1, 100), default=3, show_default=True, help="Of each load."),
    click.option(
        "--set", "extra", multiple=True, metavar="NAME=VALUE", callback=settings,
        help="A setting of the services, as in common/config.py (repeatable).",
    ),
    click.option("--place", type=_DIRECTORY, help="Where its data goes while it runs.  [default: the system's]"),
    click.option("--keep", is_flag=True, help="Leave its data and logs there; after a failure they stay anyway."),
    click.option("--json", "json_file", type=_FILE, help="Write all figures there; - prints them."),
    click.option("--html", "html_file", type=_FILE, help="Draw a chart: one file that needs nothing else."),
)  # fmt: skip


def common(command: F) -> F:
    """Add the options that `read` understands."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return options.instances(command)


def read(given: dict[str, Any]) -> Common:
    """Take the shared options out of a command's."""
    instances = options.chosen(given)
    stack = given.pop("stack_dir")
    setup = Setup(
        rocketmq=given.pop("rocketmq"),
        real=given.pop("real") or stack is not None,
        stack=stack,
        place=given.pop("place"),
        keep=given.pop("keep"),
        settings=given.pop("extra"),
        instances=instances,
    )
    effort = Effort(given.pop("warm_up"), given.pop("seconds"), given.pop("runs"))
    return Common(setup, effort, given.pop("json_file"), given.pop("html_file"))
