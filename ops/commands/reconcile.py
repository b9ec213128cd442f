"""`orders reconcile`."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.registry import PARTICIPANTS, SANDBOX
from ops import options, terminal
from ops.client import Client
from ops.deployment import Deployment
from ops.findings import REPAIR, WAIT, Gravity, Limits, Report, SentBack, age_of
from ops.flash_sales import opened
from ops.holdings import holdings_of
from ops.ledgers import Orders
from ops.payments import Payments
from ops.quiet import quiet
from ops.reconcile import Comparison
from ops.sales import Sales

_COLOURS = {Gravity.DISAGREEMENT: "red", Gravity.UNRESOLVED: "yellow", Gravity.IN_PROGRESS: "cyan"}
_SWEEP_TIMEOUT = 600.0  # seconds
_MISSED_SWEEPS = 3  # before a release that no sweep confirmed is told


@click.command("reconcile")
@click.option(
    "--repair",
    is_flag=True,
    help="Sweep now, all of it and by the order service's own code; tell the store of pieces anew; compare.",
)
@click.option(
    "--grace",
    type=float,
    default=30.0,
    show_default=True,
    callback=options.positive,
    help="Seconds that anything may be on its way.",
)
@options.data_dir
@options.as_json
@click.pass_context
def command(ctx: click.Context, repair: bool, grace: float, data_dir: Path, as_json: bool) -> None:
    """Compare orders, reservations, stock, coupons, payments, sales and messages; print what is wrong or open.

    Exit code 0 if there is nothing, 1 if there is anything, also what is only in progress. A return whose saga has
    not ended is told beside that, and is no finding: what it still holds is given back in its time. Nor is money of
    another amount or currency than was owed, once it was sent back: it is counted, and the newest 20 are told.

    \b
    Examples:
      orders reconcile
      orders reconcile --repair --json
    """
    quiet()
    deployment = Deployment.find(data_dir)
    out = terminal.console()
    swept: dict[str, Any] | None = None
    if repair:
        swept = sweep(deployment) | rebuild(deployment)
    report = compare(deployment, grace=grace, out=Console(stderr=True))
    if as_json:
        click.echo(json.dumps({**report.as_json(), "swept": swept}, indent=2))
    else:
        if swept is not None:
            out.print("Swept:", ", ".join(f"{name} {number}" for name, number in swept.items()), markup=False)
        show(out, report, repaired=repair)
    ctx.exit(0 if report.clean else 1)


def sweep(deployment: Deployment) -> dict[str, Any]:
    """Have the order service look at everything now; return what it did. Raise `Unreachable` where it does not run."""
    deployment.require_running()  # its ports may be another's by now
    plan = deployment.plan
    with Client(plan.urls, deployment.token("reconcile", ["admin"]), timeout=_SWEEP_TIMEOUT) as client:
        return dict(client.post_to_any(plan.instances_of("order"), "/sweep/full"))


def rebuild(deployment: Deployment) -> dict[str, Any]:
    """Have the store of pieces told anew what rows say of flash sales; return what it had wrong."""
    if "flash" not in deployment.plan.services:
        return {}
    with opened(deployment) as sales:
        return {"purchases_told_anew": sum(told.wrong for told in sales.rebuild_all())}


def compare(deployment: Deployment, *, grace: float, out: Console) -> Report:
    """Compare a deployment, running or stopped, showing on `out` what is looked at."""
    with ExitStack() as open_things:
        console = open_things.enter_context(deployment.open_console())
        interval = deployment.settings("order").sweep_interval
        limits = Limits(grace, confirm_within=grace + _MISSED_SWEEPS * interval)
        orders = Orders(deployment.database_url("order"))
        open_things.callback(orders.close)
        holdings = []
        for name in PARTICIPANTS:
            if name in deployment.plan.services:
                holdings.append(holdings_of(name, deployment.database_url(name), orders, limits))
                open_things.callback(holdings[-1].close)
        payments = _payments(deployment, limits)
        if payments is not None:
            open_things.callback(payments.close)
        sales = _sales(deployment, orders, limits)
        if sales is not None:
            open_things.callback(sales.close)
        with out.status("Comparing ...") as status:
            comparison = Comparison(
                *(orders, holdings, console, limits, payments, sales),
                progress=lambda what: status.update(f"Comparing {what} ..."),
            )
            return comparison.run()


def _payments(deployment: Deployment, limits: Limits) -> Payments | None:
    """Return the payments of a deployment that has some, and its sandbox's books."""
    services = deployment.plan.services
    if "pay" not in services:
        return None
    sandbox = deployment.database_url(SANDBOX) if SANDBOX in services else None
    urls = (deployment.database_url("order"), deployment.database_url("pay"), sandbox)
    return Payments(*urls, grace=limits.grace)


def _sales(deployment: Deployment, orders: Orders, limits: Limits) -> Sales | None:
    """Return the flash sales of a deployment that has some."""
    if "flash" not in deployment.plan.services:
        return None
    urls = (deployment.database_url("flash"), deployment.database_url("stock"))
    return Sales(*urls, deployment.settings("flash").pieces_url, orders, limits)


def show(out: Console, report: Report, *, repaired: bool = False) -> None:
    """Print a report, and what is to be done; what was just tried is not recommended again."""
    checked = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in report.checked.items())
    if report.clean:
        out.print(f"[green]Everything agrees[/] ({checked}, no message unresolved).")
    else:
        _show_findings(out, report, checked, repaired=repaired)
    if report.under_way:
        _show_returns(out, report)
    if report.sent_back.count:
        _show_sent_back(out, report.sent_back)


def _show_findings(out: Console, report: Report, checked: str, *, repaired: bool) -> None:
    table = Table(title=f"Compared {checked}", title_justify="left")
    for heading in ("gravity", "what", "id", "age", "remedy"):
        table.add_column(heading, overflow="fold")
    for f in report.findings:
        age = "-" if f.age is None else f"{f.age:.0f} s"
        table.add_row(f"[{_COLOURS[f.gravity]}]{f.gravity}[/]", f.what, f"{f.subject} {f.id}", age, escape(f.remedy))
    out.print(table)
    counts = ", ".join(f"{number} {gravity}" for gravity, number in report.counts.items())
    out.print(f"{counts}. {_advice(report, repaired=repaired)}", markup=False)


def _show_returns(out: Console, report: Report) -> None:
    table = Table(title="Returns under way, which is no finding", title_justify="left")
    for heading in ("what", "id", "saga", "age", "goes on"):
        table.add_column(heading, overflow="fold")
    for one in report.under_way:
        due = f"in {one.due_in:.0f} s" if one.due_in else "now"
        ids = (f"order {one.order_id}", f"{one.run_id}")
        table.add_row(escape(one.what), *ids, f"{age_of(one.since):.0f} s", due)
    out.print(table)
    out.print("See one: orders sagas show SAGA. What an operator can do: docs/returns.md.", markup=False)


def _show_sent_back(out: Console, sent_back: SentBack) -> None:
    title = f"Taken with another amount or currency, and sent back, which is no finding: {sent_back.count}"
    table = Table(title=title, title_justify="left")
    for heading in ("what", "id", "back since"):
        table.add_column(heading, overflow="fold")
    for one in sent_back.newest:
        age = "-" if one.refunded_at is None else f"{age_of(one.refunded_at):.0f} s"
        table.add_row(escape(one.what), f"payment {one.order_id}", age)
    out.print(table)
    if sent_back.count > len(sent_back.newest):
        out.print(f"The newest {len(sent_back.newest)} are shown.")


def _advice(report: Report, *, repaired: bool) -> str:
    """Return what to do about all of it."""
    repairable = any(finding.remedy == REPAIR for finding in report.findings)
    if repairable and not repaired:
        return f"To mend what can be mended: {REPAIR}"
    if repairable:
        return "The repair did not come to all of it: orders status, and the log of order, say what it met."
    if all(finding.remedy == WAIT for finding in report.findings):
        return "It is on its way: compare again a little later."
    return "The rest is for a person: see the remedies above, and docs/backup.md."
