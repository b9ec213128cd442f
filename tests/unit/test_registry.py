"""What names all services agrees with `common.registry`, which is the list of them."""

import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from common import registry
from common.config import Settings
from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.mq.rocketmq_console.defaults import Kind

ROOT = Path(__file__).parents[2]
NAMES = set(registry.NAMES)
ALL_NAMES = set(registry.ALL_NAMES)
processes = pytest.mark.parametrize("service", registry.PROCESSES, ids=lambda service: service.name)
services = pytest.mark.parametrize("service", registry.SERVICES, ids=lambda service: service.name)


@pytest.fixture(scope="module")
def setup_cfg() -> ConfigParser:
    found = ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def listed(text: str) -> set[str]:
    """Return the words of a list in setup.cfg."""
    return set(re.split(r"[\s,]+", text.strip()))


@processes
def test_a_service_is_a_package_that_starts_under_its_name(service: registry.Service) -> None:
    """`python -m NAME` serves it, its tables and its migrations are where everything looks for them."""
    assert (ROOT / service.name / "__main__.py").is_file()
    assert import_module(f"{service.name}.model").metadata.tables
    assert (ROOT / "sql" / service.name / "versions" / "0001_initial.py").is_file()


def test_no_folder_of_a_service_is_missing_from_the_list() -> None:
    """What starts as a service is listed, or it would have no port, no database and no drill."""
    assert {path.parent.name for path in ROOT.glob("*/app.py")} == ALL_NAMES
    assert {path.parent.name for path in (ROOT / "sql").glob("*/versions")} == ALL_NAMES


@services
def test_the_setting_with_its_address(service: registry.Service) -> None:
    """Its default is the first instance's address; there is one for each service, and none for what is no service."""
    assert Settings.model_fields[f"{service.name}_url"].default == service.url
    assert {name.removesuffix("_url") for name in Settings.model_fields if name.endswith("_url")} - {
        "database", "broker", "redis", "pieces"
    } == NAMES  # fmt: skip


def test_ports_of_instances_never_meet() -> None:
    """Not with as many instances of each service as may be, nor with as many services as there is room for."""
    ports = [registry.offset(name, number) for name in ALL_NAMES for number in range(1, registry.MOST_INSTANCES + 1)]
    assert len(set(ports)) == len(ports)
    first = [service.port for service in registry.PROCESSES]
    assert min(first) == registry.FIRST_PORT
    assert max(first) - min(first) < registry.PORTS_BETWEEN


def test_topics_and_who_consumes_them() -> None:
    """Each topic that the code names is listed with its kind, and is consumed; participants hear of rollbacks."""
    assert registry.TOPICS == {
        ROLLBACK_TOPIC: Kind.TRANSACTION,
        TIMEOUT_TOPIC: Kind.DELAY,
        PAYMENT_TOPIC: Kind.TRANSACTION,
        REQUEST_TOPIC: Kind.TRANSACTION,
        PURCHASE_TOPIC: Kind.TRANSACTION,
    }
    assert {topic for topic, _ in registry.SUBSCRIPTIONS} == registry.TOPICS.keys()
    assert {name for topic, name in registry.SUBSCRIPTIONS if topic == ROLLBACK_TOPIC} == set(registry.PARTICIPANTS)


def test_all_consumers_of_a_group_consume_the_same() -> None:
    """RocketMQ would give some of a topic's messages to consumers of its group that do not consume it."""
    groups = [group for _, group in registry.SUBSCRIPTIONS]
    assert len(set(groups)) == len(groups)
    assert {one for name in registry.NAMES for one in registry.subscriptions_of([name])} == set(registry.SUBSCRIPTIONS)
    assert registry.subscriptions_of(["order"]) == (
        (PURCHASE_TOPIC, "order_flash_purchase"),
        (REQUEST_TOPIC, "order_order_request"),
        (TIMEOUT_TOPIC, "order"),
        (PAYMENT_TOPIC, "order_payment_succeeded"),
    )


def test_packages_and_what_checks_them(setup_cfg: ConfigParser) -> None:
    """Each service is in the wheel, is measured and is checked for types: what is left out is said, not what is in."""
    left_out = listed(setup_cfg["options.packages.find"]["exclude"]) | listed(setup_cfg["coverage:run"]["omit"])
    assert {pattern.partition("/")[0].removesuffix(".*") for pattern in left_out} == {"lab", "tests"}
    assert setup_cfg["mypy"]["files"] == "."
    assert [name for name in ALL_NAMES if re.match(setup_cfg["mypy"]["exclude"], f"{name}/app.py")] == []


def test_import_contracts_are_about_every_service(setup_cfg: ConfigParser) -> None:
    """A service that a contract forgets may import what it likes."""

    def of(contract: str, option: str) -> set[str]:
        return listed(setup_cfg[f"importlinter:contract:{contract}"][option])

    assert listed(setup_cfg["importlinter"]["root_packages"]) >= ALL_NAMES
    assert of("independent-services", "modules") == ALL_NAMES
    assert of("rooms-of-order", "containers") == NAMES
    assert of("services-know-no-command-line", "source_modules") == ALL_NAMES
    assert of("common-imports-no-service", "forbidden_modules") >= ALL_NAMES
    assert of("checker-of-random-drills", "forbidden_modules") >= ALL_NAMES
    assert of("rocketmq-in-its-adapter", "source_modules") >= ALL_NAMES
    in_use_cases = {f"{name}.{room}" for name in ALL_NAMES for room in ("service", "model")}
    assert of("no-web-in-use-cases", "source_modules") >= in_use_cases


def test_containers() -> None:
    """Each service's port is exposed by the image, its container waits for its database, its database is named."""
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    assert exposed is not None
    assert exposed[1].split() == [str(service.port) for service in registry.PROCESSES]
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    assert compose["migrate"]["environment"].keys() == {f"{name.upper()}_DATABASE_URL" for name in ALL_NAMES}
    for service in registry.PROCESSES:
        waits = compose[service.name]["depends_on"].keys()
        assert waits >= ({"migrate", "topics"} if service.consumes else {"migrate"}), service.name


def test_places_in_the_docs() -> None:
    """The table of ports in docs/operations.md has a column for each service."""
    text = (ROOT / "docs/operations.md").read_text()
    for number, row in enumerate(("first", "`-2`", "`-3`"), 1):
        ports = [registry.FIRST_PORT + registry.offset(name, number) for name in registry.ALL_NAMES]
        assert f"| {row} | {' | '.join(map(str, ports))} |" in text
