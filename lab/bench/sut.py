"""A deployment to measure: its own data directory and ports, goods in plenty, users with tokens; gone afterwards."""

import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from common.db import WHOLE_TABLE, Database
from common.registry import GATEWAY
from lab.bench.servers import NAIVE, RealServers
from lab.bench.wire import Requests, make_request
from lab.judge.judge import Judge
from ops.deployment import Deployment, free_port_base
from ops.plan import Gateway, Plan, Servers
from ops.stack.settings import SERVERS

USERS = 100
PIECES = 10**9  # of each goods: nothing runs short
_REQUESTS = 1000  # different ones, sent over and over
_SEED = 1
_READY_WITHIN = 60.0
_TOLD = 5  # lines of each kind of wrong
_PAY_TIMEOUT = 6 * 3600.0  # no order falls due while others are placed
_SETTINGS: Mapping[str, str | float] = {"rate_limit": "1000000/second"}

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """How to run what is measured; `settings` by their names in `common.config.Settings`.

    `real` without a `stack` starts servers of our own, with that version of `rocketmq`. `place` is where temporary data
    goes, `keep` leaves it there.
    """

    real: bool = False
    stack: Path | None = None
    rocketmq: str | None = None
    place: Path | None = None
    keep: bool = False
    settings: Mapping[str, str | float] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)
    pay_timeout: float = _PAY_TIMEOUT
    gateway: bool = False
    console: bool = False

    def plan(self, servers: Servers | None) -> Plan:
        """Return the plan of a deployment. Raise `CommandFailed`."""
        return Plan(
            port_base=free_port_base(self.instances),
            pay_timeout=self.pay_timeout,
            extra={**_SETTINGS, **self.settings},
            instances=self.instances,
            servers=servers,
            gateway=Gateway() if self.gateway else None,
            console=self.console,
        )


@contextmanager
def open_sut(setup: Setup, say: Say) -> Iterator["SystemUnderTest"]:
    """Start a deployment, yield it, stop it and delete its data; after an error its logs stay, and `say` tells where.

    Raise `CommandFailed`, `NotInTime`.
    """
    with ExitStack() as stack:
        servers = (
            stack.enter_context(RealServers.open(setup.stack, setup.place, say, setup.rocketmq)) if setup.real else None
        )
        removed, root = False, Path(tempfile.mkdtemp(prefix="orders-bench-", dir=setup.place))
        sut = SystemUnderTest(Deployment(root, setup.plan(servers.servers if servers else None), say=say), servers, say)
        try:
            sut.start()
            yield sut
            removed = not setup.keep
        finally:
            sut.close()
            if removed:
                shutil.rmtree(root, ignore_errors=True)
            else:
                say(f"The data is in {root}, the logs in {root / 'log'}.")


class SystemUnderTest:
    """A deployment that runs, and what a bench wants of it."""

    def __init__(self, deployment: Deployment, servers: RealServers | None, say: Say) -> None:
        self.deployment = deployment
        self.say = say
        self._servers = servers
        self._databases: dict[str, Database] = {}

    def start(self) -> None:
        """Start it and return once it is ready. Raise `CommandFailed`, `NotInTime`."""
        self.deployment.prepare()
        self.deployment.start(within=_READY_WITHIN)

    def close(self) -> None:
        """Stop it."""
        for database in self._databases.values():
            database.close()
        self.deployment.stop()

    def database(self, service: str) -> Database:
        """Return a service's database."""
        if service not in self._databases:
            url = self.deployment.database_url(service)
            self._databases[service] = Database(url, statement_timeout=WHOLE_TABLE)
        return self._databases[service]

    @property
    def filled(self) -> tuple[Database, Database, Database]:
        """The databases that orders are filled into: of order, stock and pay."""
        return self.database("order"), self.database("stock"), self.database("pay")

    @cached_property
    def judge(self) -> Judge:
        """What judges the databases."""
        return Judge.of(self.deployment, patience=WHOLE_TABLE, most=_TOLD)

    @cached_property
    def tokens(self) -> list[str]:
        """A token of each user."""
        return [self.deployment.token(f"user-{number}") for number in range(USERS)]

    def addresses(self, service: str = "order") -> list[tuple[str, int]]:
        """Where the instances of a service listen."""
        plan = self.deployment.plan
        return [address(plan.urls[name]) for name in plan.instances_of(service)]

    def gateway(self) -> list[tuple[str, int]]:
        """Where the gateway listens."""
        return [address(self.deployment.plan.urls[GATEWAY.name])]

    def new_goods(self, number: int) -> list[str]:
        """Create goods with stock in plenty; return their ids."""
        with self.deployment.client("bench", ["admin"]) as client:
            made = []
            for index in range(number):
                body = {"name": f"Tea no. {index + 1}", "unit_price": 250, "currency": "EUR"}
                made.append(str(client.post("goods", "/goods", body)["goods_id"]))
                client.put("stock", f"/stock/{made[-1]}", {"total": PIECES})
            return made

    def new_coupons(self) -> list[str]:
        """Create a coupon for each user, good for every order; return their ids in the order of the tokens."""
        with self.deployment.client("bench", ["admin"]) as client:
            body = {"kind": "amount", "value": 50, "currency": "EUR", "uses": PIECES, "uses_per_user": PIECES}
            of_users = [body | {"user_id": f"user-{number}"} for number in range(USERS)]
            return [str(client.post("coupon", "/coupons", each)["coupon_id"]) for each in of_users]

    def orders(
        self,
        goods: Sequence[str],
        *,
        keys: str = "",
        users: int = USERS,
        coupons: Sequence[str] = (),
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Requests:
        """Return requests that each place an order for one goods of these, in the names of so many users.

        `coupons`: none, or one for each user, which each order of theirs has.
        """
        return orders_of(self.tokens[:users], goods, keys=keys, coupons=coupons, headers=headers)

    def new_database(self) -> str:
        """Make one more database, of the kind that the services have; return its URL."""
        return self._servers.new_database() if self._servers else self.deployment.directory.database_url(NAIVE)

    @cached_property
    def servers(self) -> dict[str, int]:
        """The processes of real servers; asking them takes a while."""
        return self._servers.pids() if self._servers else {}

    @property
    def victims(self) -> list[str]:
        """The processes that may be killed: ours."""
        return [*self.deployment.plan.processes, *(SERVERS if self._servers and self._servers.own else ())]

    def kill(self, name: str) -> None:
        """End one of the `victims` with SIGKILL, and return once it works again. Raise `NotInTime`, `CommandFailed`."""
        supervisor = self.deployment.supervisor
        if name in self.deployment.plan.processes:
            if (pid := supervisor.pid(name)) is not None:
                supervisor.kill(name, signal.SIGKILL)
                supervisor.wait_gone(pid)
            supervisor.wait_ready(name)
        elif self._servers:
            self._servers.kill(name)
            self.__dict__.pop("servers", None)  # its pid is another one now

    def pids(self) -> dict[str, int]:
        """Return the processes that take part, by name: services, and real servers."""
        states = self.deployment.supervisor.states()
        services = {state.name: state.pid for state in states if state.pid is not None}
        return services | self.servers


def orders_of(
    tokens: Sequence[str],
    goods: Sequence[str],
    *,
    keys: str = "",
    coupons: Sequence[str] = (),
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Requests:
    """Return requests that each place an order for one or two pieces of one goods; always the same ones."""
    chance = random.Random(_SEED)  # noqa: S311 - a load, not a secret
    messages = []
    for number in range(_REQUESTS):
        items = [{"goods_id": chance.choice(goods), "quantity": chance.randint(1, 2)}]
        coupon = {"coupon_id": coupons[number % len(tokens)]} if coupons else {}
        token = tokens[number % len(tokens)]
        messages.append(make_request("POST", "/orders", token, {"items": items} | coupon, headers))
    return Requests(messages, keys=keys)


def address(url: str) -> tuple[str, int]:
    """Return the host and the port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80
