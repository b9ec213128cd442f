"""`orders demo`."""

import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from common.registry import NAMES
from halfmessage.errors import HalfMessageError
from ops import options, terminal
from ops import real as servers
from ops.commands import reconcile, up
from ops.demo import PAY_TIMEOUT, REAL_TIMES, SHORT_TIMES, Demo
from ops.deployment import Deployment, Plan, free_port_base, ports_are_free
from ops.errors import CommandFailed, NotInTime
from ops.findings import Gravity, Report
from ops.flash_demo import FlashDemo
from ops.plan import Gateway, Servers
from ops.story import Teller
from ops.waiting import wait_for

_GRACE = 10.0  # seconds
_ON_ITS_WAY = 60.0  # seconds
_INTERRUPTED = 130  # as a shell says of Ctrl-C
_SERVICES = [name for name in NAMES if name != "flash"]  # more than one instance of; --flash is another story here

Goods = list[dict[str, Any]]
Story = Callable[[Deployment, Goods, Teller], None]
"""Tells it of a deployment that is ready, with the goods of its catalogue. Raises a `CommandFailed` where it breaks."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave it running, with its data, until `orders down`.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="An empty or new directory for its data, which stays.  [default: a temporary one, removed]",
)
@click.option(
    "--port-base",
    type=click.IntRange(1, 65533),
    help="Port of order; the others get the next ones.  [default: 8001, or free ones]",
)
@click.option("--flash", "is_flash", is_flag=True, help="Show a flash sale instead.")
@click.option(
    "--buyers", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="With --flash: who come."
)
@click.option(
    "--pieces", type=click.IntRange(1, 10_000), default=100, show_default=True, help="With --flash: what there is."
)
@partial(options.instances, services=_SERVICES)
@options.real
@options.rocketmq
@click.pass_context
def command(
    ctx: click.Context,
    /,
    is_flash: bool,
    buyers: int,
    pieces: int,
    keep: bool,
    data_dir: Path | None,
    port_base: int | None,
    real: bool,
    rocketmq: str | None,
    **counts: int,
) -> None:
    """Show the whole story on data of its own: paid, unpaid, refused, killed with kill -9, with a coupon, paid late.

    Takes about half a minute. Exit code 0 only if everything held. With --real it uses the stack of this clone if that
    runs, or else a stack of its own, which it stops.

    With --flash: 10,000 buyers for 100 pieces, and what counts the pieces is killed in the middle of it: Redis, on a
    stack of its own (--real), else the flash process.

    \b
    Examples:
      orders demo
      orders demo --flash
      orders demo --order 2 --stock 2
      orders demo --real
      orders demo --keep
    """
    if is_flash and pieces > buyers:
        raise click.BadParameter(f"{buyers} buyers would leave some of {pieces} pieces", ctx, param_hint="--pieces")
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise CommandFailed(f"{data_dir} is not empty; the demo wants a directory of its own.")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    place = data_dir or Path(tempfile.mkdtemp(prefix="orders-demo-"))
    removed = data_dir is None
    instances = options.chosen(counts)
    out = terminal.console()
    say = terminal.sayer(out)
    began = time.monotonic()
    try:
        private = keep or is_flash  # a Redis that others use too is not killed
        lending = servers.borrowed(place, private=private, say=say, rocketmq=rocketmq) if real else nullcontext(None)
        with lending as lent:
            plan = _plan(port_base, instances, lent, console=keep)
            if is_flash:
                plan = replace(
                    plan, pay_timeout=Plan().pay_timeout
                )  # the usual one: nothing falls due while it is told
                story: Story = partial(_tell_of_sale, buyers=buyers, pieces=pieces)
            else:
                story = _tell_of_orders
            _tell(out, Deployment(place, plan, say=say), story, began)
        removed = removed and not keep
    except HalfMessageError as error:
        removed = False
        raise CommandFailed(f"{error.detail} The logs are in {place / 'log'}.") from error
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        ctx.exit(_INTERRUPTED)
    finally:
        if removed:
            shutil.rmtree(place, ignore_errors=True)
    if keep:
        _keep(place)


def _plan(port_base: int | None, instances: Mapping[str, int], lent: Servers | None, *, console: bool) -> Plan:
    times = SHORT_TIMES if lent is None else REAL_TIMES
    usual = Plan(port_base or Plan().port_base, PAY_TIMEOUT, times, instances, lent, console, Gateway())
    if port_base is None and not ports_are_free(usual):
        return replace(usual, port_base=free_port_base(instances))
    return usual


def _tell(out: Console, deployment: Deployment, story: Story, began: float) -> None:
    out.print(f"Data in {deployment.directory.root}", markup=False, soft_wrap=True)
    try:
        with out.status("migrating the databases, then starting the services ..."):
            deployment.prepare()
            deployment.start()
            goods = deployment.fill_catalogue()
        for line in (*up.address(deployment), *up.looking_on(deployment)):
            out.print(line, markup=False, soft_wrap=True)
        urls = ", ".join(f"{name} {url}" for name, url in deployment.plan.urls.items())
        out.print(f"Ready: {urls}; {len(goods)} goods in the catalogue", markup=False, soft_wrap=True)
        teller = Teller(out)
        story(deployment, goods, teller)
        teller.chapter("Do orders, stock and messages agree?")
        report = _compared(deployment, out)
        reconcile.show(out, report)
        teller.expect(report.clean, "every invariant holds")
    finally:
        with out.status("stopping ..."):
            deployment.stop()
    out.print(f"\n[green]Everything held[/], in {time.monotonic() - began:.0f} s.")


def _compared(deployment: Deployment, out: Console) -> Report:
    """Compare; what is only on its way gets `_ON_ITS_WAY` seconds, as RocketMQ asks seldom after a half message."""

    def decided() -> Report | None:
        report = reconcile.compare(deployment, grace=_GRACE, out=out)
        return report if report.clean or report.counts[Gravity.DISAGREEMENT] else None

    try:
        return wait_for("what is on its way", decided, within=_ON_ITS_WAY, every=1.0)
    except NotInTime:
        return reconcile.compare(deployment, grace=_GRACE, out=out)


def _tell_of_orders(deployment: Deployment, goods: Goods, teller: Teller) -> None:
    with (
        deployment.open_console() as messages,
        closing(Demo(deployment, goods, messages, teller)) as demo,
    ):
        demo.tell_all()


def _tell_of_sale(deployment: Deployment, _: Goods, teller: Teller, *, buyers: int, pieces: int) -> None:
    with closing(FlashDemo(deployment, teller, buyers=buyers, pieces=pieces)) as demo:
        demo.tell_all()


def _keep(place: Path) -> None:
    """Leave it running, with the usual times: an order of the reader's own shall not time out in 4 seconds."""
    found = Deployment.find(place)
    plan = Plan(found.plan.port_base, instances=found.plan.instances, console=True)
    if found.plan.servers is not None:
        plan = replace(plan, servers=servers.start(place, say=click.echo))
    up.start_detached(Deployment(place, plan))
