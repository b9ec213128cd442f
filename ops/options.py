"""Options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from common.registry import MOST_INSTANCES, NAMES, PORTS_BETWEEN
from ops import versions
from ops.places import default_data_dir

F = TypeVar("F", bound=Callable[..., Any])

data_dir: Callable[[F], F] = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    envvar="ORDERS_DATA_DIR",
    show_default="var in the clone",
    help="Where databases, messages, logs and the secret are.  [env: ORDERS_DATA_DIR]",
)


def instances(command: F, services: Sequence[str] = NAMES) -> F:
    """Add `--order N` and so on, an option for each of the services; `chosen` makes of them what a `Plan` takes."""
    for service in reversed(services):
        command = click.option(
            f"--{service}",
            type=click.IntRange(1, MOST_INSTANCES),
            default=1,
            show_default=True,
            metavar="N",
            help=f"How many instances of {service}; number n listens {PORTS_BETWEEN} (n - 1) ports above the first.",
        )(command)
    return command


def chosen(given: dict[str, Any]) -> dict[str, int]:
    """Take the instances asked for out of a command's arguments, without services that run once as they always do."""
    return {service: number for service in NAMES if (number := given.pop(service, 1)) > 1}


def named(given: dict[str, Any]) -> dict[str, int]:
    """Take the instances that the command line names, once or oftener, out of a command's arguments."""
    source = click.get_current_context().get_parameter_source
    found = {service: given.pop(service) for service in NAMES if service in given}
    return {service: number for service, number in found.items() if source(service) is ParameterSource.COMMANDLINE}


real: Callable[[F], F] = click.option(
    "--real",
    is_flag=True,
    is_eager=True,  # what goes with it looks for it
    help="On a real RocketMQ, MariaDB and Redis, which `orders stack` runs.",
)


def _version(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a version that can't be run, and one that nothing would run: it was asked for without `--real`."""
    if not value:
        return None
    if not ctx.params.get("real", True):
        if ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            raise click.BadParameter("it goes with --real", ctx, parameter)
        return None
    return versions.check(value)


rocketmq: Callable[[F], F] = click.option(
    "--rocketmq",
    metavar="VERSION",
    envvar="ORDERS_ROCKETMQ",
    callback=_version,
    help=f"Which RocketMQ the servers run: {', '.join(versions.KNOWN)}.  [env: ORDERS_ROCKETMQ; default: "
    f"{versions.DEFAULT}, or as before]",
)
as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def positive(_: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse a duration that isn't above 0 (nan neither)."""
    if not 0 < value < 10 * 365 * 86400:
        raise click.BadParameter("a number of seconds above 0", param=parameter)
    return value
