"""THE list of our services, and of the messages between them.

Ports, databases, migrations, topics, groups, what `up` starts and the files in `docker/` derive from it, or a test
compares them with it (tests/unit/test_registry.py). A new service is an entry here, a folder of its own and its
migrations; a participant has a client in `order/clients` too (docs/add-a-participant.md). It imports nothing of ours,
and little else: every command needs it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

MOST_INSTANCES = 64  # of one service; worker ids alone would allow 1,024
FIRST_PORT = 8001
PORTS_BETWEEN = 100  # from an instance to the next one of its service: room for as many services


@dataclass(frozen=True, slots=True)
class Service:
    """A service.

    Its package, its database, its consumer groups and the setting with its address (`ORDERS_<NAME>_URL`) have its name.
    `port`: of its first instance, by default. `consumes`: the topics that it consumes. `participant`: it holds
    something for orders, asked by order and given back by `order_rollback`. `pages`: where its pages for people are; of
    one that has some, the gateway serves nothing else.
    """

    name: str
    port: int
    consumes: tuple[str, ...] = ()
    participant: bool = False
    pages: tuple[str, ...] = ()

    def group(self, topic: str) -> str:
        """Return the group in which it consumes a topic: one of its name, and of further topics their own.

        All consumers of a group must consume the same topics: RocketMQ would give some of a topic's messages to those
        that do not (https://rocketmq.apache.org/docs/domainModel/09subscription/).
        """
        return self.name if topic == self.consumes[0] else f"{self.name}_{topic}"

    @property
    def url(self) -> str:
        """Where its first instance is, by default."""
        return f"http://127.0.0.1:{self.port}"


ROLLBACK_TOPIC = "order_rollback"
TIMEOUT_TOPIC = "order_timeout"
PAYMENT_TOPIC = "payment_succeeded"
REQUEST_TOPIC = "order_request"
PURCHASE_TOPIC = "flash_purchase"
TOPICS: Mapping[str, str] = MappingProxyType(
    {
        ROLLBACK_TOPIC: "TRANSACTION",
        TIMEOUT_TOPIC: "DELAY",
        PAYMENT_TOPIC: "TRANSACTION",
        REQUEST_TOPIC: "TRANSACTION",
        PURCHASE_TOPIC: "TRANSACTION",
    }
)
"""The topics, and what each carries in RocketMQ's words (`message.type`)."""
NEVER_DELAYED = tuple(topic for topic, kind in TOPICS.items() if kind == "TRANSACTION")
"""Topics whose messages are never sent to wait: one that is delayed failed before, and is to be tried again."""

WORKERS: Mapping[str, range] = MappingProxyType({"order": range(512), "flash": range(512, 1024)})
"""The worker ids of services whose ids meet: a purchase is an order request under its own id (`halfmessage.ids`)."""

SANDBOX = "sandbox"
"""The provider of payments that is a service of ours, for a deployment without a real one."""

SERVICES = (  # in the order of stopping: those that ask before those that are asked
    Service("order", 8001, consumes=(TIMEOUT_TOPIC, PAYMENT_TOPIC, REQUEST_TOPIC, PURCHASE_TOPIC)),
    Service("stock", 8002, consumes=(ROLLBACK_TOPIC,), participant=True),
    Service("goods", 8003),
    Service("coupon", 8004, consumes=(ROLLBACK_TOPIC,), participant=True),
    Service("pay", 8005, consumes=(ROLLBACK_TOPIC,), participant=True),
    Service("flash", 8007, consumes=(ROLLBACK_TOPIC,), participant=True),
    Service(SANDBOX, 8010, pages=("/page",)),
    Service("user", 8006),
)
NAMES = tuple(service.name for service in SERVICES)

CONSOLE = Service("console", 8008)
"""The web console: it asks all services and none asks it, so it is part of a deployment only where that says so."""

STORY_FILE = 20 * 1024 * 1024
"""Bytes of a story file, at most."""
UPLOADS: Mapping[str, int] = MappingProxyType({"/story-files": STORY_FILE + 4096})
"""Where the console takes files, each with the bytes that its form may have: the file, and what is around it. A body of
anything else has as many as `max_body` says."""

GATEWAY = Service("gateway", 8000)
"""One address for all of them: Caddy, which has no database. It is the port below order's, whatever that is."""
GATEWAY_ADMIN_PORT = 8009
"""Where it serves what only administrators may, if that is set apart."""

PROCESSES = (CONSOLE, *SERVICES)
"""Everything of ours that has a port and a database, in the order of stopping."""
BY_NAME: Mapping[str, Service] = MappingProxyType({process.name: process for process in PROCESSES})
ALL_NAMES = tuple(BY_NAME)
CALLERS = ("console", "order", "flash")
"""Those that call others, and so sign tokens with keys of their own."""
OPERATOR = "operator"
"""Who runs a deployment: its key signs the tokens that the command line shows services."""
MONITOR = "prometheus"
"""Who reads metrics, which takes no scope."""
PARTICIPANTS = tuple(service.name for service in SERVICES if service.participant)
_GROUPS = {(topic, service.group(topic)): service.name for service in SERVICES for topic in service.consumes}
SUBSCRIPTIONS = tuple(sorted(_GROUPS))
"""Each topic with a group that consumes it: of a topic with several groups, each gets every message."""


def instance(service: str, number: int) -> str:
    """Return the name of a service's instance; numbers begin at 1."""
    return service if number == 1 else f"{service}-{number}"


def offset(service: str, number: int) -> int:
    """Return how far above order's first instance one listens: told by its name alone, whatever else there is."""
    return BY_NAME[service].port - FIRST_PORT + PORTS_BETWEEN * (number - 1)


def gateway_offset(*, admin: bool = False) -> int:
    """Return how far from order's first instance the gateway listens; `admin`: for administrators alone."""
    return (GATEWAY_ADMIN_PORT if admin else GATEWAY.port) - FIRST_PORT


def subscriptions_of(services: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return those of `SUBSCRIPTIONS` that are some services'."""
    return tuple(one for one in SUBSCRIPTIONS if _GROUPS[one] in services)
