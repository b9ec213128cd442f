"""Our adapter beside a process on an older version of RocketMQ's gRPC client: the same topics, the same groups."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, CheckAnswer, Delivery, HalfMessage, Message, Verdict
from halfmessage.mq.prefixed import prefixed
from ops.stack import Stack, tenant
from tests.native.standin import missing
from tests.support import eventually

pytestmark = pytest.mark.in_turn

OLDER = ("5.1.1", "5.0.9")  # the one before ours, and the last of 5.0
UNREAD = "5.0.9"  # it shows neither keys nor properties of what it receives (an inverted condition in its message.py)
PROGRAM = Path(__file__).with_name("other_client.py")
WITHIN = 60.0  # seconds


class Other:
    """A running `other_client`, and what it said."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process, self.said = process, list[str]()
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    def wait(self, beginning: str) -> str:
        """Return a line that begins so."""

        def look() -> str | None:
            found = next((line for line in self.said if line.startswith(beginning)), None)
            assert found or self.process.poll() in {None, 9}, "it ended"
            return found

        return str(eventually(look, within=WITHIN))


@pytest.fixture(scope="module", params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where an older client is installed, beside ours and never in the same process."""
    cache = getattr(request.config, "cache", None)
    name = "rocketmq-python-client"
    target = (cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)) / request.param
    if not target.is_dir():
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        wanted = f"{name}=={request.param}"
        # what it needs is here: ours needs the same
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unfinished), wanted]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode:
            missing(f"{wanted} can't be installed: {done.stderr[-500:]}")
        unfinished.rename(target)
    return target


@pytest.fixture
def share() -> Iterator[str]:
    """Return the name of a deployment on the stack that ORDERS_TEST_STACK names."""
    stack, name = Stack(Path(os.environ["ORDERS_TEST_STACK"]), say=lambda _: None), f"v{uuid.uuid4().hex[:8]}"
    yield name
    tenant.drop(stack, name)


@pytest.fixture
def ours(share: str) -> Iterator[Broker]:
    """Open our adapter on that deployment's topics."""
    servers = tenant.servers(Stack(Path(os.environ["ORDERS_TEST_STACK"]), say=lambda _: None), share)
    with closing(open_broker(servers.broker_url, BrokerOptions())) as broker:
        yield broker


@pytest.fixture
def other(older: Path, share: str, tmp_path: Path) -> Iterator[Callable[..., Other]]:
    """Start processes on the older client, on that deployment's topics and groups."""
    with ExitStack() as running:

        def start(what: str, topic: str, *more: str) -> Other:
            words = [sys.executable, "-W", "ignore", str(PROGRAM), what, os.environ["ORDERS_TEST_ROCKETMQ"]]
            process = running.enter_context(
                subprocess.Popen(
                    [*words, prefixed(share, topic), *more],
                    env=os.environ | {"PYTHONPATH": str(older), "HOME": str(tmp_path)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            running.callback(process.kill)
            return Other(process)

        yield start


def received(broker: Broker, group: str, topic: str) -> list[Delivery]:
    got: list[Delivery] = []

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        got.extend(deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer(group, topic, handle)
    return got


def test_ours_answers_for_the_older_one(ours: Broker, other: Callable[..., Other]) -> None:
    """A half message of a process on the older client that was killed is asked of ours, with what decides it."""
    got, asked = received(ours, "stock", "order_rollback"), list[HalfMessage]()

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half)
        return CheckAnswer.COMMIT

    ours.producer("order", checker, topics=["order_rollback"])
    other("half", "order_rollback", "t1").wait("sent")
    eventually(lambda: got, within=WITHIN)
    assert got[0].message.body == b"theirs"
    assert asked[0].message.properties == {"tx_id": "t1", "deliver_if": "aborted"}


def test_the_older_one_answers_for_ours(ours: Broker, share: str, older: Path, other: Callable[..., Other]) -> None:
    """A half message that ours left open is asked of a process on the older client, and delivered as that says."""
    got = received(ours, "stock", "order_rollback")
    alive = other("answer", "order_rollback")
    alive.wait("ready")
    stack = Stack(Path(os.environ["ORDERS_TEST_STACK"]), say=lambda _: None)
    with closing(open_broker(tenant.servers(stack, share).broker_url, BrokerOptions())) as gone:
        gone.producer("order").begin(Message("order_rollback", b"ours", properties={"tx_id": "t2"}))
    assert alive.wait("asked ours") == f"asked ours {None if older.name == UNREAD else 't2'}"
    eventually(lambda: got, within=WITHIN)
    assert got[0].message.body == b"ours"


def test_one_group_of_both(ours: Broker, share: str, other: Callable[..., Other]) -> None:
    """Members on either client share a group's messages: each gets some, and all are handled."""
    theirs, got = (
        other("consume", "order_rollback", prefixed(share, "stock")),
        received(ours, "stock", "order_rollback"),
    )
    theirs.wait("ready")
    producer = ours.producer("order")
    sent: set[str] = set()

    def both_have_some() -> bool:
        sent.add(f"n{len(sent)}")
        producer.send(Message("order_rollback", f"n{len(sent) - 1}".encode()))
        return bool(got) and any(line.startswith("received") for line in theirs.said)

    eventually(both_have_some, within=WITHIN)

    def handled() -> set[str]:
        return {one.message.body.decode() for one in got} | {line.split()[-1] for line in theirs.said}

    eventually(lambda: sent <= handled(), within=WITHIN)


def test_delays_of_either(ours: Broker, share: str, other: Callable[..., Other]) -> None:
    """A delayed message of the older client comes to ours, and one of ours to it, each in its time."""
    got = received(ours, "order", "order_timeout")
    due = 1000 * int(other("delay", "order_timeout", "3").wait("sent").split()[1])
    eventually(lambda: got, within=WITHIN)
    assert got[0].message.body == b"theirs, later"
    assert now_ms() >= due
    theirs = other("consume", "order_timeout", prefixed(share, "stock"))  # of another group: none shares with it
    theirs.wait("ready")
    due = now_ms() + 3000
    ours.producer("order").send_at(Message("order_timeout", b"ours-later"), due)
    theirs.wait("received ours-later")
    assert now_ms() >= due
