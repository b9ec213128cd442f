"""`orders up`."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.logfile import LogFile
from common.registry import CONSOLE, FIRST_PORT, GATEWAY
from common.wake import Wake
from ops import joining, options, terminal
from ops import real as servers
from ops.commands.status import HS256_WARNING
from ops.deployment import Deployment, Plan
from ops.errors import AlreadyRunning, CommandFailed, NotInTime
from ops.places import PACKAGES, DataDir
from ops.plan import DISCOVERY_FILES, Gateway, Servers
from ops.stack import Stack
from ops.stack.zipkin import Zipkin
from ops.status import look
from ops.waiting import wait_for

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DETACHED_WITHIN = 120.0  # seconds
_LOG = "ORDERS_LOG_FILE"  # as for a service, which is told of its own
_ADMIN = "ORDERS_GATEWAY_ADMIN"
ZIPKIN = "zipkin+"  # before the URL of a Zipkin, see docs/tracing.md
_LAST_LINE = "Stop it with Ctrl-C, or with: "
_KEPT = ("participants", "discovery", *DISCOVERY_FILES)
"""Settings that say what the deployment is: kept with it, so that all commands know them."""


@click.command("up")
@options.data_dir
@click.option(
    "--port-base",
    type=click.IntRange(1, 65533),
    help="Port of order; the other services get the next ones.  [default: 8001; with --join: free ones]",
)
@options.instances
@click.option(
    "--pay-timeout",
    type=float,
    default=900.0,
    show_default=True,
    callback=options.positive,
    help="Seconds until an unpaid order is closed.",
)
@click.option(
    "--gateway/--no-gateway",
    "with_gateway",
    default=True,
    show_default=True,
    help="One address before all services, a port below order's.",
)
@click.option("--tls", is_flag=True, help="The gateway serves HTTPS, by certificates of an authority of its own.")
@options.real
@options.rocketmq
@click.option(
    "--join",
    type=click.Path(file_okay=False, path_type=Path),
    help="Only further instances, of the deployment in this data directory: --order 1 unless others are named.",
)
@click.option("--trace", is_flag=True, help="Send traces to a Zipkin, which is started and runs on (docs/tracing.md).")
@click.option("--reset", is_flag=True, help="First delete all data of this (stopped) deployment.")
@click.option("--detach", is_flag=True, help="Return once it is ready; it runs on until `orders down`.")
def command(
    data_dir: Path,
    port_base: int | None,
    pay_timeout: float,
    with_gateway: bool,
    tls: bool,
    real: bool,
    rocketmq: str | None,
    join: Path | None,
    trace: bool,
    reset: bool,
    detach: bool,
    **instances: int,
) -> None:
    """Start all services, and keep them running until Ctrl-C or `orders down`.

    A process that dies is started again. The first start fills in a small catalogue. With --real they use the servers
    of `orders stack`, in `stack` of the data directory (or where ORDERS_STACK_DIR says), which are started and run on.

    \b
    Examples:
      orders up
      orders up --port-base 9001 --pay-timeout 60 --data-dir /tmp/shop
      orders up --order 2 --stock 2
      orders up --real --detach
      orders up --trace
      orders up --reset --detach
      orders up --join var --data-dir /tmp/more --order 1
    """
    if tls and not with_gateway:
        raise click.UsageError("--tls goes with the gateway, not with --no-gateway.")
    say = _sayer()
    if join is not None:
        if real or reset or trace:
            raise CommandFailed("--join takes the servers and the data of the deployment that it names.")
        plan = joining.plan_of(join, options.named(instances) or {"order": 1}, port_base)
        deployment = Deployment(data_dir, plan, say=say)
        joining.take_keys(deployment.directory, DataDir(Path(plan.joined)))
        _go(deployment, detach=detach)
        return
    joining.refuse_part(data_dir)
    extra = _kept()
    gateway = Gateway(tls=tls, separate=_is_separate()) if with_gateway else None
    plan = Plan(port_base or FIRST_PORT, pay_timeout, extra, options.chosen(instances), console=True, gateway=gateway)
    if reset and data_dir.exists():
        name = servers.share(data_dir) if real else ""  # kept in what is deleted next
        Deployment(data_dir, plan).directory.reset()
        if real:
            servers.reset(data_dir, name)
    if real:
        plan = replace(plan, servers=servers.start(data_dir, say=say, rocketmq=rocketmq))
    if trace:
        url = Stack(servers.stack_dir(data_dir), say=say).trace()
        plan = replace(plan, extra={**plan.extra, "trace": f"{ZIPKIN}{url}"})
    _go(Deployment(data_dir, plan, say=say), detach=detach)


def _kept() -> dict[str, str | float]:
    """Return the settings of the environment that are kept; files with their whole path: processes run elsewhere."""
    told = {name: os.environ[variable] for name in _KEPT if (variable := f"ORDERS_{name.upper()}") in os.environ}
    files = {name: str(Path(told.pop(name)).absolute()) for name in DISCOVERY_FILES if told.get(name)}
    return {**{name: value for name, value in told.items() if name not in DISCOVERY_FILES}, **files}


def _go(deployment: Deployment, *, detach: bool) -> None:
    if detach:
        start_detached(deployment)
    else:
        _run(terminal.console(), deployment)


def _is_separate() -> bool:
    """Whether administrators have a listener of their own. Raise `CommandFailed` for what can't be set."""
    found = os.environ.get(_ADMIN, "together")
    if found not in {"together", "separate"}:
        raise CommandFailed(f"{_ADMIN} is together or separate, not {found!r}.")
    return found == "separate"


def _sayer() -> Callable[[str], None]:
    """Return what prints a line; into a file, where we run detached, that is kept small."""
    say = terminal.sayer(terminal.console())
    if not (path := os.environ.get(_LOG)):
        return say
    log = LogFile(Path(path))

    def say_and_follow(line: str) -> None:
        log.follow()
        say(line)

    return say_and_follow


def _run(out: Console, deployment: Deployment) -> None:
    for signum in _STOPS:
        signal.signal(signum, signal.default_int_handler)  # raises KeyboardInterrupt, wherever the start or wait is
    try:
        _prepare(deployment)
        if deployment.takes_hs256:
            out.print(HS256_WARNING, markup=False, soft_wrap=True)
        out.print(f"Starting in {deployment.directory.root} ...", markup=False, soft_wrap=True)
        deployment.start()
        show_ready(out, deployment, [] if deployment.plan.joined else deployment.fill_catalogue())
        out.print(f"{_LAST_LINE}{deployment.directory.hint('down')}", markup=False, soft_wrap=True)
        Wake().wait()
    except KeyboardInterrupt:
        out.print("Stopping ... (once more: at once)")
    finally:
        for signum in _STOPS:
            signal.signal(signum, lambda *_: deployment.kill())
        deployment.stop()
    out.print("Stopped.")
    say_what_runs_on(out, deployment)


def say_what_runs_on(out: Console, deployment: Deployment) -> None:
    """Tell of the real servers, and of Zipkin, which outlive the services."""
    if deployment.plan.joined:
        return
    stack = servers.stack_dir(deployment.directory.root)
    if (zipkin := Zipkin(stack).url) is not None:
        stop = servers.hint(stack, "down")
        out.print(f"Its traces are at {zipkin} while Zipkin runs; stop it with: {stop}", markup=False, soft_wrap=True)
    if deployment.plan.servers is not None and deployment.plan.servers.stack:
        stop = servers.hint(Path(deployment.plan.servers.stack), "down")
        out.print(f"Its servers run on; stop them with: {stop}", markup=False, soft_wrap=True)


def _prepare(deployment: Deployment) -> None:
    try:
        deployment.prepare()
    except AlreadyRunning as error:
        status = look(Deployment.find(deployment.directory.root))
        ports = ", ".join(f"{service.name} {service.port}" for service in status.services)
        raise AlreadyRunning(
            f"{error.detail} Its ports: {ports}. Stop it with: {deployment.directory.hint('down')}"
        ) from error


def show_ready(out: Console, deployment: Deployment, goods: list[dict[str, Any]]) -> None:
    """Say that it is ready: where to look on, a table of its processes, and calls that work when pasted."""
    for line in (*address(deployment), *looking_on(deployment)):
        out.print(line, markup=False, soft_wrap=True)
    table = Table(title=f"Ready, in {escape(str(deployment.directory.root))}", title_justify="left")
    for heading in ("service", "address", "pid"):
        table.add_column(heading)
    for service in look(deployment).services:
        table.add_row(service.name, service.url, str(service.pid))
    out.print(table)
    if deployment.plan.joined:
        out.print(f"Part of the deployment in {deployment.plan.joined}.", markup=False, soft_wrap=True)
        return
    if deployment.plan.servers is not None:
        out.print(f"Servers: {_addresses(deployment.plan.servers)}", markup=False, soft_wrap=True)
    if trace := str(deployment.plan.extra.get("trace", "")):
        out.print(f"Traces: {trace.removeprefix(ZIPKIN)}", markup=False, soft_wrap=True)
    for line in _calls(deployment, goods):
        out.print(line, markup=False, soft_wrap=True)


def address(deployment: Deployment) -> list[str]:
    """Return the one address, and how to trust it; nothing where there is no gateway."""
    plan = deployment.plan
    if plan.gateway is None:
        return []
    lines = [f"Everything is at: {plan.urls[GATEWAY.name]}  (its calls: {plan.urls[GATEWAY.name]}/docs)"]
    if plan.gateway.separate:
        lines.append(f"  for administrators: {plan.url(GATEWAY.name, plan.admin_port)}")
    if plan.gateway.tls:
        lines.append(f"  its authority: {deployment.directory.root_certificate}  (curl --cacert)")
    return lines


def looking_on(deployment: Deployment) -> list[str]:
    """Return where the console is, and how to get in; nothing where there is none."""
    plan = deployment.plan
    url = plan.urls.get(CONSOLE.name)
    if url is None:
        return []
    if plan.gateway is not None:
        port = plan.admin_port if plan.gateway.separate else plan.ports[GATEWAY.name]
        url = f"{plan.url(GATEWAY.name, port)}/console/"
    admin = deployment.directory.hint('token root --scope "orders admin"')
    return [f"Look on: {url}", f"  with a token of: {admin}"]


def _addresses(real: Servers) -> str:
    """Return where the servers are, without passwords."""
    urls = {"RocketMQ": real.broker_url, "MariaDB": real.database_urls["order"], "Redis": real.redis_url}
    return ", ".join(f"{name} {urlsplit(url).hostname}:{urlsplit(url).port}" for name, url in urls.items())


def _calls(deployment: Deployment, goods: list[dict[str, Any]]) -> list[str]:
    plan, goods_id = deployment.plan, goods[-1]["goods_id"]
    urls = {name: plan.urls[name if plan.gateway is None else GATEWAY.name] for name in ("order", "stock", "goods")}
    curl = "curl -s"
    if plan.gateway is not None and plan.gateway.tls:
        curl += f" --cacert {shlex.quote(str(deployment.directory.root_certificate))}"
    auth = '-H "Authorization: Bearer $TOKEN"'
    body = f"""-H 'Content-Type: application/json' -d '{{"items":[{{"goods_id":"{goods_id}","quantity":1}}]}}'"""
    pick = """| python3 -c 'import json, sys; print(json.load(sys.stdin)["order_id"])'"""
    return [
        f"Logs: {deployment.directory.root / 'log'}",
        "Try it:",
        f"  export TOKEN=$({deployment.directory.hint('token alice')})",
        f"  ORDER=$({curl} {auth} {body} {urls['order']}/orders {pick})",
        f"  {curl} {auth} {urls['order']}/orders/$ORDER",
        f"  {curl} {auth} -X POST {urls['order']}/orders/$ORDER/pay",
        f"  {curl} {auth} {urls['order']}/orders/$ORDER/timeline",
        f"  {curl} {auth} {urls['stock']}/stock/{goods_id}",
        f"  {curl} {auth} {urls['goods']}/goods",
    ]


def _whole_paths() -> dict[str, str]:
    """Return the variables that name files by where we are, for a process that runs elsewhere."""
    names = (servers.STACK_DIR, *(f"ORDERS_{name.upper()}" for name in DISCOVERY_FILES))
    return {name: str(Path(told).absolute()) for name in names if (told := os.environ.get(name))}


def start_detached(deployment: Deployment) -> None:
    """Run `orders up` in a session of its own, and return once it is ready."""
    deployment.directory.make()
    if deployment.directory.lock.holder() is not None:
        _prepare(deployment)  # tells who runs it
    log = deployment.directory.log("supervisor")
    plan = deployment.plan
    log.unlink(missing_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ops", "up", "--data-dir", str(deployment.directory.root)),
                *("--port-base", str(plan.port_base), "--pay-timeout", str(plan.pay_timeout)),
                *_words_of(plan),
                *(word for service, number in plan.instances.items() for word in (f"--{service}", str(number))),
            ],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=PACKAGES,
            start_new_session=True,
            env={**os.environ, **_whole_paths(), _LOG: str(log)},
        )
    click.echo(f"Starting in {deployment.directory.root} ...")
    try:
        wait_for(
            "the deployment to get ready",
            lambda: process.poll() is not None or _LAST_LINE in log.read_text(encoding="utf-8"),
            within=_DETACHED_WITHIN,
        )
    except NotInTime:
        process.terminate()
        raise
    said = log.read_text(encoding="utf-8")
    if process.poll() is not None:
        raise CommandFailed(said.strip().rpartition("\n")[2].removeprefix("Error: "))
    click.echo(said.partition("\n")[2].replace(_LAST_LINE, "Stop it with: "), nl=False)


def _words_of(plan: Plan) -> list[str]:
    """Return the options that a plan was made of, but for ports, times and numbers of instances."""
    if plan.joined:
        return ["--join", plan.joined]
    return [
        *(["--no-gateway"] if plan.gateway is None else ["--tls"] if plan.gateway.tls else []),
        *(["--real"] if plan.servers is not None else []),
        *(["--trace"] if str(plan.extra.get("trace", "")).startswith(ZIPKIN) else []),
    ]
