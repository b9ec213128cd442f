"""One stack: RocketMQ, MariaDB and Redis as processes of their own in one data directory."""

import contextlib
import fcntl
import shlex
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from halfmessage.errors import BrokerError
from halfmessage.mq.prefixed import prefixed
from halfmessage.mq.rocketmq_console import remoting
from ops import versions
from ops.errors import CommandFailed, NoDeployment
from ops.stack import jars, packages, provision
from ops.stack import plan as plans
from ops.stack.admin import Admin
from ops.stack.daemons import Daemon, is_running
from ops.stack.layout import Layout
from ops.stack.plan import HOST, StackPlan
from ops.stack.probes import PROBES
from ops.stack.provision import Supplies
from ops.stack.settings import DATABASE_USER, DATABASES, SERVERS
from ops.stack.status import ServerStatus, StackStatus, judge
from ops.stack.zipkin import Zipkin
from ops.waiting import wait_for

_LOCK_WITHIN = 300.0  # seconds: another `up` may be installing
_STOP_WITHIN = 60.0
_OF_ROCKETMQ = ("broker", "namesrv")
_DROPPED = "skip ck from last epoch"  # as PopReviveService of 5.2.0 has it
_READY_WITHIN = 120.0


class Stack:
    """Starts, finds and stops one stack. Every method may be called again; several commands at once queue up."""

    def __init__(self, data_dir: Path, *, say: Callable[[str], None] = print) -> None:
        """Name the data directory; nothing is made or started yet."""
        self.layout = Layout(data_dir.absolute())
        self._say = say
        self._daemons = {name: Daemon(name, self.layout.root) for name in SERVERS}
        self.zipkin = Zipkin(self.layout.root, say=say)

    @property
    def plan(self) -> StackPlan:
        """Ports and times. Raise `NoDeployment` where no stack was ever started."""
        found = plans.load(self.layout.plan_file)
        if found is None:
            raise NoDeployment(f"There is no stack in {self.layout.root}: start one with `orders stack up`.")
        return found

    def up(
        self,
        *,
        port_base: int | None = None,
        ports: Mapping[str, int] | None = None,
        defaults: bool | None = None,
        rocketmq: str | None = None,
        within: float = _READY_WITHIN,
    ) -> None:
        """Install what is missing, start what does not run, and return once every server does its work.

        What is not given stays as it was. `port_base` 0: free ports. `ports`: single ones, by the fields of `Ports`.
        `defaults`: RocketMQ's own times. `rocketmq`: its version, one of `ops.versions.KNOWN`; newer than before is an
        upgrade, an older one is refused. `within`: seconds from the start of the servers to their being ready.
        Raise `CommandFailed`, `NotInTime`.
        """
        self.layout.make()
        with self._locked():
            self._refuse_moved()
            plan = self._planned(port_base, ports or {}, defaults, rocketmq)
            programs = self._ensure_programs(plan.rocketmq)
            self.layout.render(plan)
            missing = [name for name in SERVERS if self._daemons[name].running() is None]
            self._refuse_used_ports(plan, missing)
            plans.save(self.layout.plan_file, plan)
            self._start(missing, plan, programs, within)

    def trace(self) -> str:
        """Have Zipkin run beside the servers, which need not; return its URL. Raise `CommandFailed`, `NotInTime`."""
        self.layout.make()
        with self._locked():
            return self.zipkin.up()

    def stop_zipkin(self) -> None:
        """Stop Zipkin, if it runs."""
        if self.zipkin.url is not None:
            with self._locked():
                self.zipkin.down()

    def down(self) -> None:
        """Stop every server gracefully, Zipkin too; return once all are gone. Raise nothing where none runs."""
        self.stop_zipkin()
        if not self.layout.plan_file.exists():
            return
        with self._locked():
            self._stop([name for name in SERVERS if name != "namesrv"])
            self._stop(["namesrv"])  # the broker says goodbye to it

    def reset(self) -> None:
        """Stop the stack and delete its data directory. Raise `CommandFailed` if anything in it isn't ours."""
        if not self.layout.root.exists():
            return
        if not self.layout.plan_file.is_file() and not self._was_begun():
            raise CommandFailed(f"There is no stack in {self.layout.root}: nothing deleted.")
        if strangers := self.layout.strangers():
            raise CommandFailed(f"{self.layout.root} holds {strangers[0]!r}, which isn't ours: nothing deleted.")
        self.down()
        with self._locked():
            shutil.rmtree(self.layout.root)
            self.layout.socket.unlink(missing_ok=True)

    def kill(self, name: str) -> int | None:
        """End a server with SIGKILL, as a crash would; return its pid, None if it did not run."""
        with self._locked():
            killed = self._daemon(name).kill()
        return killed.pid if killed else None

    def signal(self, name: str, signum: int) -> None:
        """Send a server a signal, if it runs."""
        self._daemon(name).signal(signum)

    def stop(self, name: str) -> None:
        """Stop one server gracefully."""
        self._daemon(name)
        with self._locked():
            self._stop([name])

    def start(self, name: str, *, within: float = _READY_WITHIN) -> None:
        """Start one server, if it does not run, and return once it does its work. Raise `NotInTime`."""
        self._daemon(name)
        with self._locked():
            plan = self.plan
            missing = [name] if self._daemons[name].running() is None else []
            self.layout.render(plan)
            self._start(missing, plan, packages.programs(), within, await_all=[name])

    def restart(self, name: str, *, within: float = _READY_WITHIN) -> None:
        """Stop one server gracefully and start it again."""
        self.stop(name)
        self.start(name, within=within)

    def runs(self, names: Iterable[str] = SERVERS, *, all_of_it: bool = False) -> bool:
        """Whether any of these servers runs, or every one of them, ready or not."""
        running = [self._daemons[name].running() is not None for name in names]
        return all(running) if all_of_it else any(running)

    def status(self) -> StackStatus:
        """Have every server do some work; say how each is. Raise `NoDeployment`."""
        plan = self.plan
        servers: list[ServerStatus] = []
        for name, daemon in self._daemons.items():
            running = daemon.running()
            state, reason = judge(daemon.identity(), running, partial(self._why_not, name, plan))
            servers.append(ServerStatus.of(name, running, plan.ports.of(name), state, reason))
        return StackStatus(str(self.layout.root), tuple(servers), self.urls(), plan.defaults, plan.rocketmq)

    def urls(self) -> dict[str, str]:
        """Return where everything is: ORDERS_BROKER_URL, ORDERS_REDIS_URL, a database URL for each service, and more.

        Raise `NoDeployment`.
        """
        plan = self.plan
        account = f"{DATABASE_USER}:{plan.password}@{HOST}:{plan.ports.mariadb}"
        databases = {
            f"{name.upper()}_DATABASE_URL": f"mysql+pymysql://{account}/{name}?charset=utf8mb4" for name in DATABASES
        }
        limits = "" if plan.defaults else "&min_invisible=1&poll=1"  # those of settings.SHORT_TIMING.proxy, seconds
        return {
            "ORDERS_BROKER_URL": f"rocketmq://{HOST}:{plan.ports.proxy}?namesrv={HOST}:{plan.ports.namesrv}" + limits,
            "ORDERS_BROKER4_URL": f"rocketmq4://{HOST}:{plan.ports.namesrv}",
            **databases,
            "ORDERS_REDIS_URL": f"redis://{HOST}:{plan.ports.redis}/0",
            "ORDERS_TEST_ROCKETMQ": f"{HOST}:{plan.ports.proxy}",
            "ORDERS_TEST_NAMESRV": f"{HOST}:{plan.ports.namesrv}",
            "ORDERS_TEST_STACK": str(self.layout.root),
            "ORDERS_TEST_MYSQL": f"mysql+pymysql://{account}/",
            "ORDERS_TEST_REDIS": f"redis://{HOST}:{plan.ports.redis}/15",
            **({} if (zipkin := self.zipkin.url) is None else {"ORDERS_TRACE": f"zipkin+{zipkin}"}),
        }

    def admin(self) -> Admin:
        """Return RocketMQ's admin tool for this stack. Raise `NoDeployment`, `CommandFailed`."""
        plan, java = self.plan, packages.programs().java
        return Admin(f"{HOST}:{plan.ports.namesrv}", self.layout.home, java, jars.classpath(plan.rocketmq))

    def broker_address(self) -> remoting.Address:
        """Return where topics and groups are created. Raise `NoDeployment`."""
        return remoting.Address(HOST, self.plan.ports.broker)

    def namesrv_address(self) -> remoting.Address:
        """Return where routes are told. Raise `NoDeployment`."""
        return remoting.Address(HOST, self.plan.ports.namesrv)

    def logs(self, name: str) -> list[Path]:
        """Return the log files of a server, that of its output first."""
        found = [self._daemon(name).log]
        folder = self.layout.home / "logs" / "rocketmqlogs"
        prefixes = {"namesrv": ("namesrv",), "broker": ("broker", "proxy", "store", "transaction")}.get(name, ())
        found += sorted(path for path in folder.glob("*.log") if path.name.startswith(prefixes) and prefixes)
        return [path for path in found if path.exists()]

    def dropped(self, prefix: str) -> list[str]:
        """Return what RocketMQ says of messages that it dropped, of topics with this prefix.

        What was popped and not acknowledged comes again, but for a message that was stored in the millisecond after the
        pop began (PopReviveService of 5.2.0): if its consumer dies, it is never delivered. Only a sweep can help.
        """
        said = self.layout.home / "logs" / "rocketmqlogs" / "pop.log"
        if not said.exists():
            return []
        with said.open(encoding="utf-8", errors="replace") as lines:
            return [line.rstrip() for line in lines if _DROPPED in line and prefixed(prefix, "") in line]

    def _why_not(self, name: str, plan: StackPlan) -> str | None:
        known = self._daemons[name].running()
        if known is not None and self._daemons[name].is_elsewhere(known):
            return f"its directory was moved here from {known.root}: down, then up"
        return PROBES[name](plan)

    def _refuse_moved(self) -> None:
        """Raise `CommandFailed` where servers run that still write at another path."""
        for daemon in self._daemons.values():
            known = daemon.running()
            if known is not None and daemon.is_elsewhere(known):
                raise CommandFailed(
                    f"{self.layout.root} was moved here from {known.root} while its servers ran: `orders stack down` "
                    "first, with this --data-dir."
                )

    def _daemon(self, name: str) -> Daemon:
        if name not in self._daemons:
            raise CommandFailed(f"There is no server {name!r}: {', '.join(SERVERS)}.")
        return self._daemons[name]

    def _planned(
        self, port_base: int | None, ports: Mapping[str, int], defaults: bool | None, rocketmq: str | None
    ) -> StackPlan:
        before = plans.load(self.layout.plan_file)
        if before is None:
            base = plans.DEFAULT_PORT_BASE if port_base is None else port_base
            return plans.new_plan(base, rocketmq or versions.DEFAULT).changed(ports, defaults=defaults)
        plan = replace(before, ports=plans.Ports.from_base(port_base)) if port_base else before
        plan = plan.changed(ports, defaults=defaults, rocketmq=rocketmq)
        if replace(plan, rocketmq=before.rocketmq) != before and self.runs():
            raise CommandFailed(
                f"The stack in {self.layout.root} runs with other ports or times: `orders stack down` first."
            )
        if plan.rocketmq != before.rocketmq and self.runs(_OF_ROCKETMQ):
            where = f"--data-dir {shlex.quote(str(self.layout.root))}"
            raise CommandFailed(
                f"RocketMQ {before.rocketmq} runs in {self.layout.root}: `orders stack stop broker {where}` and "
                f"`orders stack stop namesrv {where}` first; MariaDB and Redis may run on."
            )
        if plan.rocketmq != before.rocketmq:
            self._say(f"Upgrading {self.layout.root} from RocketMQ {before.rocketmq} to {plan.rocketmq}, for good.")
        return plan

    def _ensure_programs(self, rocketmq: str) -> packages.Programs:
        programs = packages.ensure(with_maven=not jars.are_there(rocketmq), say=self._say)
        jars.ensure(rocketmq, self._say)
        return programs

    def _refuse_used_ports(self, plan: StackPlan, servers: list[str]) -> None:
        for name in servers:
            for port in plan.ports.of(name):
                if not plans.is_free(port):
                    known = self._daemons[name].identity()
                    raise CommandFailed(
                        f"Port {port} of {HOST}, which {name} needs, is in use"
                        + (" by the stack that this is a copy of" if known and is_running(known) else "")
                        + ": stop what listens there, or choose other ports with: "
                        f"orders stack up --port-base 0 --data-dir {shlex.quote(str(self.layout.root))}"
                    )

    def _start(
        self,
        names: list[str],
        plan: StackPlan,
        programs: packages.Programs,
        within: float,
        *,
        await_all: list[str] | None = None,
    ) -> None:
        """Start what is missing: the broker once the name server answers, as it registers only now and then."""
        if names:
            self._say(f"Starting {', '.join(names)} ...")
        for name in sorted(names, key=lambda name: (name == "broker", name == "mariadb")):
            if name == "mariadb":
                self.layout.make_mariadb(programs)
            if name == "broker":
                self._await("namesrv", plan, within)
            self._daemons[name].start(self.layout.program(name, plan, programs))
        awaited = await_all or SERVERS
        for name in awaited:
            if name == "broker":
                self._await_topics(plan, within)
            self._await(name, plan, within)
        if awaited == ["namesrv"] and self._daemons["broker"].running() is not None:  # a new one knows nothing yet
            with suppress(CommandFailed):  # a broker that is killed meanwhile does it when it starts
                self._await_topics(plan, within)

    def _await(self, name: str, plan: StackPlan, within: float) -> None:
        self._wait(name, lambda: PROBES[name](plan), within)

    def _await_topics(self, plan: StackPlan, within: float) -> None:
        broker, namesrv = (remoting.Address(HOST, port) for port in (plan.ports.broker, plan.ports.namesrv))

        def create() -> str | None:
            try:
                remoting.register(broker)
                provision.make(Supplies.of_stack(), broker)
                unregistered = remoting.unregistered(broker, namesrv)
            except BrokerError as error:
                return error.detail
            return f"{len(unregistered)} topics are not registered yet" if unregistered else None

        self._wait("broker", create, within)

    def _wait(self, name: str, why_not: Callable[[], str | None], within: float) -> None:
        """Wait until `why_not` has no reason. Raise `NotInTime`, or `CommandFailed` as soon as the server ended."""
        daemon = self._daemons[name]

        def look() -> bool:
            if daemon.running() is None:
                raise CommandFailed(f"{name} ended while it started; see {daemon.log}.")
            return why_not() is None

        wait_for(f"{name} to answer (its log: {daemon.log})", look, within=within, every=0.1)

    def _stop(self, names: list[str]) -> None:
        asked = {name: self._daemons[name].signal(signal.SIGTERM) for name in names}
        for name, known in asked.items():
            if known is not None and not self._daemons[name].wait_stopped(known, within=_STOP_WITHIN):
                self._say(f"{name} did not stop within {_STOP_WITHIN:g} s and was killed.")
            self._daemons[name].forget()

    def _was_begun(self) -> bool:
        """Whether an `up` that failed early left its directories, and nothing else, here."""
        return self.layout.lock_file.exists() and not self.layout.strangers()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the stack's lock: one command starts or stops at a time."""
        if not self.layout.lock_file.parent.is_dir():
            raise NoDeployment(f"There is no stack in {self.layout.root}: start one with `orders stack up`.")
        with contextlib.closing(self.layout.lock_file.open("w", encoding="ascii")) as file:
            wait_for(f"another command on {self.layout.root} to end", lambda: _try_lock(file.fileno()),
                     within=_LOCK_WITHIN)  # fmt: skip
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
