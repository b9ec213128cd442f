"""`orders messages --broker`: the messages of a broker that a URL names, without a data directory."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from common.registry import SUBSCRIPTIONS
from halfmessage.errors import ConsoleUnavailable
from halfmessage.mq import factory
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import Backlog, BrokerOptions, Delivery, Message, Verdict
from halfmessage.mq.rocketmq_console.remoting import Address
from ops.cli import main
from ops.deployment import Deployment

CENTURY = 100 * 365 * 86400.0  # seconds
WAITING = Backlog("stock", "order_rollback", 3, 2, 12.34)


@pytest.fixture(autouse=True)
def _no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Deployment, "find")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of an embedded broker that has one message, which its consumer asks for again later."""
    path = tmp_path / "broker.db"

    def later(deliveries: Sequence[Delivery]) -> list[Verdict]:
        return [Verdict.RETRY] * len(deliveries)

    with closing(EmbeddedBroker(path, BrokerOptions(retry_first_after=600.0))) as broker:
        broker.consumer("stock", "order_rollback", later)
        broker.producer("order").send(Message("order_rollback", b"{}", keys=("7",)))
        yield f"embedded:///{path}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["messages", *arguments])


def test_they_are_found(url: str) -> None:
    """By key, as in a data directory, and no database is asked whether it is an order of a flash sale."""
    (found,) = json.loads(run("--broker", url, "--key", "7", "--json").output)
    assert (found["topic"], found["keys"]) == ("order_rollback", ["7"])
    assert json.loads(run("--broker", url, "--key", "8", "--json").output) == []


def test_the_backlog(url: str) -> None:
    """One message of the group, wherever it is just now."""
    (one,) = json.loads(run("--broker", url, "backlog", "--json").output)
    assert (one["group"], one["topic"], one["waiting"] + one["in_flight"]) == ("stock", "order_rollback", 1)


def test_looking_deletes_and_parks_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is due by our settings: the services have their own, which are not known here."""
    opened: list[BrokerOptions] = []

    def noted(path: Path, options: BrokerOptions) -> EmbeddedBroker:
        opened.append(options)
        return EmbeddedBroker(path, options)

    monkeypatch.setattr(factory, "EmbeddedBroker", noted)
    assert run("--broker", url, "backlog").exit_code == 0
    (options,) = opened
    assert min(options.retention, options.check_interval, options.invisible_for, options.retry_longest) >= CENTURY


def test_of_rocketmq_through_its_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for all groups, with the URL's prefix, though no deployment of ours is known; it sends on, too."""
    asked: list[tuple[object, ...]] = []

    class Console:
        def __init__(self, *arguments: object) -> None:
            asked.append(arguments)

        def backlog(self) -> list[Backlog]:
            return [WAITING]

        def resend(self, message_id: str) -> None:
            asked.append((message_id,))

    monkeypatch.setattr(factory, "FoundConsole", Console)
    monkeypatch.setitem(factory._ROCKETMQ, "rocketmq", lambda *_: SimpleNamespace(close=list))  # its client is an extra
    url = "rocketmq://broker:8081?namesrv=namesrv:9876&prefix=mine"
    (one,) = json.loads(run("--broker", url, "backlog", "--json").output)
    assert Backlog(**one) == WAITING
    assert asked == [(Address("namesrv", 9876), "mine", SUBSCRIPTIONS)]
    assert run("--broker", url, "resend", "A").exit_code == 0
    assert asked[-1] == ("A",)


def test_what_can_t_be_looked_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the broker's own words, which say what to do."""

    def console() -> None:
        raise ConsoleUnavailable("use mqadmin")

    broker = SimpleNamespace(console=console, close=list)
    monkeypatch.setitem(factory._ROCKETMQ, "rocketmq4", lambda *_: broker)
    done = run("--broker", "rocketmq4://namesrv:9876", "backlog")
    assert (done.exit_code, done.output) == (1, "Error: use mqadmin\n")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """An empty broker would have no messages, which is another answer than that there is none."""
    done = run("--broker", f"embedded:///{tmp_path}/wrong.db", "backlog")
    assert (done.exit_code, "wrong.db" in done.output, list(tmp_path.iterdir())) == (1, True, [])


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--data-dir", "/tmp"], "name one of the two"), (["--admin-tool", "--key", "7"], "orders stack")],
)
def test_what_does_not_go_with_it(url: str, more: list[str], said: str) -> None:
    """Nobody's wish is passed over."""
    done = run("--broker", url, *more)
    assert (done.exit_code, said in done.output) == (2, True)
