"""The gRPC adapter on a real RocketMQ: what the contract of brokers can't ask, kill -9 of the broker first of all.

ORDERS_TEST_STACK is the data directory of a stack of our own (`orders stack up` prints it), whose broker is killed.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.v5.client.client_telemetry_manager import ClientTelemetryManager
from rocketmq.v5.client.connection import RpcClient

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, ConsoleUnavailable
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, CheckAnswer, Delivery, HalfMessage, Message, Resolution, Verdict
from halfmessage.mq.rocketmq_console.defaults import Kind
from halfmessage.mq.rocketmq_console.remoting import create_group, create_topic, unregistered
from lab.drill.nemesis.links import Switchboard
from ops.stack.stack import Stack
from tests.support import eventually

pytestmark = pytest.mark.timeout(240)

AFTER_OPENING = 5.0  # seconds that everything may take to work again
Open = Callable[..., Broker]


class Seen:
    """A handler that keeps bodies, times, attempts and ids."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.at: list[int] = []

    def __call__(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        self.at += [now_ms()] * len(deliveries)
        self.got += deliveries
        return [Verdict.ACK] * len(deliveries)

    @property
    def bodies(self) -> set[bytes]:
        return {delivery.message.body for delivery in self.got}


@pytest.fixture(scope="module")
def stack() -> Stack:
    """Return the stack whose broker may be killed."""
    directory = os.environ.get("ORDERS_TEST_STACK", "")
    assert directory, "ORDERS_REAL=1 needs ORDERS_TEST_STACK"
    return Stack(Path(directory), say=lambda _: None)


@pytest.fixture
def topic(stack: Stack) -> Callable[[Kind], str]:
    """Create topics of a test's own, each with the groups that its consumers may have."""

    def create(kind: Kind) -> str:
        name = f"{kind.lower()}-{uuid.uuid4().hex[:12]}"
        create_topic(stack.broker_address(), name, kind)
        for group in ("stock", "order"):
            create_group(stack.broker_address(), f"{group}-{name}")
        return name

    return create


@pytest.fixture
def opened(stack: Stack) -> Iterator[Open]:
    """Open brokers, closed after the test."""
    brokers: list[Broker] = []

    def open_(extra: str = "", *, url: str = "", **options: float) -> Broker:
        url = (url or stack.urls()["ORDERS_BROKER_URL"]) + extra
        brokers.append(open_broker(url, BrokerOptions(**options)))  # type: ignore[arg-type]
        return brokers[-1]

    yield open_
    for broker in brokers:
        broker.close()


class Restart:
    """Starts a killed broker beside the test, and knows when its port opened."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._thread = threading.Thread(target=stack.start, args=("broker",))
        self._thread.start()

    def wait_open(self) -> float:
        """Return the moment (`time.monotonic`) at which the proxy's port opened."""
        eventually(self._listens, within=120)
        return time.monotonic()

    def end(self) -> None:
        self._thread.join()

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._stack.plan.ports.proxy), 0.2):
                return True
        except OSError:
            return False


def test_kill_9_with_half_messages_open(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """After kill -9, sends, consumption and check-backs work again within 5 s of the port opening; nothing is lost.

    While it is down, every request is refused at once.
    """
    transactional, normal, delayed = topic(Kind.TRANSACTION), topic(Kind.NORMAL), topic(Kind.DELAY)
    broker, seen, timeouts, decided = opened(), Seen(), Seen(), threading.Event()

    def check(_: HalfMessage) -> CheckAnswer:
        return CheckAnswer.COMMIT if decided.is_set() else CheckAnswer.UNKNOWN

    producer = broker.producer("order", check, topics=[transactional])
    for name in (transactional, normal):
        broker.consumer(f"stock-{name}", name, seen)
    broker.consumer(f"order-{delayed}", delayed, timeouts)
    halves = {b"half %d" % number for number in range(20)}
    for body in halves:
        producer.begin(Message(transactional, body))
    committed = producer.begin(Message(transactional, b"committed"))
    producer.resolve(committed, Resolution.COMMIT)
    due = now_ms() + 3000
    producer.send_at(Message(delayed, b"timeout"), due)

    stack.kill("broker")
    asked_at = time.monotonic()
    with pytest.raises(BrokerError, match="RocketMQ"):
        producer.send(Message(normal, b"refused"))
    with pytest.raises(BrokerError, match="RocketMQ"):
        producer.begin(Message(transactional, b"refused"))
    assert time.monotonic() - asked_at < 2 * 3.5
    decided.set()
    restart = Restart(stack)
    opened_at = restart.wait_open()
    try:
        eventually(lambda: _sends(producer.send, Message(normal, b"after")), within=AFTER_OPENING)
        left = AFTER_OPENING - (time.monotonic() - opened_at)
        eventually(lambda: {b"after", b"committed"} | halves <= seen.bodies, within=left)
        eventually(lambda: timeouts.got, within=20)
    finally:
        restart.end()
    assert b"refused" not in seen.bodies
    assert timeouts.at[0] >= due


def test_down_at_start(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """A service that starts before its broker gets errors, then works, consumes and is asked without a restart."""
    transactional = topic(Kind.TRANSACTION)
    stack.kill("broker")
    broker, seen = opened(), Seen()
    producer = broker.producer("order", lambda _: CheckAnswer.COMMIT, topics=[transactional])
    broker.consumer(f"stock-{transactional}", transactional, seen)
    with pytest.raises(BrokerError, match="is not there"):
        broker.ping()
    restart = Restart(stack)
    restart.wait_open()
    try:
        eventually(lambda: _sends(producer.begin, Message(transactional, b"half")), within=AFTER_OPENING)
        eventually(lambda: b"half" in seen.bodies, within=10)
        broker.ping()
    finally:
        restart.end()


def test_a_name_server_that_restarted_knows_every_topic(stack: Stack, topic: Callable[[Kind], str]) -> None:
    """At once, not when the broker registers next, up to 10 s later: clients would hear of no such topic."""
    topic(Kind.NORMAL)
    stack.kill("namesrv")
    stack.start("namesrv")
    assert unregistered(stack.broker_address(), stack.namesrv_address()) == set()


def test_delays_survive_a_killed_broker(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """What its timer wheel had not written to disk yet (it does every 10 s) is found again in its logs."""
    delayed, seen = topic(Kind.DELAY), Seen()
    broker = opened()
    producer, due, bodies = broker.producer("order"), now_ms() + 5_000, {b"%d" % number for number in range(20)}
    for body in bodies:
        producer.send_at(Message(delayed, body), due)
    stack.kill("broker")
    stack.start("broker")
    broker.consumer(f"order-{delayed}", delayed, seen)
    eventually(lambda: bodies <= seen.bodies, within=30)


def test_broker_that_hangs(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """Requests to a broker that is there and does not answer end in time; when it goes on, so do we."""
    broker, normal, seen = opened(send_timeout=1.0), topic(Kind.NORMAL), Seen()
    producer = broker.producer("order")
    broker.consumer(f"stock-{normal}", normal, seen)
    producer.send(Message(normal, b"before"))
    (pid,) = (server.pid for server in stack.status().servers if server.name == "broker")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(BrokerError, match="in time"):
            producer.send(Message(normal, b"lost or late"))
        assert time.monotonic() - began < 2.0
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: _sends(producer.send, Message(normal, b"after")), within=10)
    eventually(lambda: {b"before", b"after"} <= seen.bodies, within=10)


def test_delay_beyond_the_limit_hops(topic: Callable[[Kind], str], opened: Open) -> None:
    """A delay longer than the broker's limit is kept all the same, under the id and birth that its sender got."""
    delayed, seen = topic(Kind.DELAY), Seen()
    broker = opened("&max_delay=2")
    broker.consumer(f"order-{delayed}", delayed, seen)
    sent_at = now_ms()
    message = Message(delayed, b"x", tag="t", keys=("1", "2"), properties={"tx_id": "7"})
    message_id = broker.producer("order").send_at(message, sent_at + 5000)
    until = now_ms()  # its producer had to connect first
    eventually(lambda: seen.got, within=15)
    (delivery,) = seen.got
    assert (delivery.message_id, delivery.message) == (message_id, message)
    assert sent_at - 1000 < delivery.born_at < until + 1000
    assert 0 <= seen.at[0] - (sent_at + 5000) < 2500


def test_kinds_are_respected(topic: Callable[[Kind], str], opened: Open) -> None:
    """A topic of the wrong kind, or none, is said to be so, with how to create the right one; plain goes anywhere."""
    normal, transactional, delayed = topic(Kind.NORMAL), topic(Kind.TRANSACTION), topic(Kind.DELAY)
    producer = opened().producer("order")
    for name in (normal, transactional, delayed):
        producer.send(Message(name, b"x"))
    with pytest.raises(BrokerError, match=r"takes no transactional messages.*message\.type=TRANSACTION"):
        producer.begin(Message(normal, b"x"))
    with pytest.raises(BrokerError, match=r"takes no delayed messages.*message\.type=DELAY"):
        producer.send_at(Message(transactional, b"x"), now_ms())
    with pytest.raises(BrokerError, match="no such topic"):
        producer.send(Message("no-such-topic", b"x"))


def test_without_a_name_server_there_is_no_console_and_it_says_so(stack: Stack, opened: Open) -> None:
    """What RocketMQ does not tell its gRPC clients is an error of its own, never an empty answer."""
    with pytest.raises(ConsoleUnavailable, match="namesrv=HOST:PORT"):
        opened(url=f"rocketmq://127.0.0.1:{stack.plan.ports.proxy}").console()
    assert opened().console().stats().half >= 0


_CHILD = """
import sys
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Message, Verdict
broker = open_broker(sys.argv[1], BrokerOptions())
producer = broker.producer("order", lambda half: CheckAnswer.UNKNOWN)
broker.consumer(sys.argv[3], sys.argv[2], lambda deliveries: [Verdict.ACK] * len(deliveries))
producer.send(Message(sys.argv[2], b"x"))
print("sent", flush=True)
"""


def test_process_without_a_home_and_without_goodbye(stack: Stack, topic: Callable[[Kind], str], tmp_path: Path) -> None:
    """The client's log file is of no use: no HOME is needed; a process that just ends does end."""
    normal = topic(Kind.NORMAL)
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    words = [sys.executable, "-c", _CHILD, stack.urls()["ORDERS_BROKER_URL"], normal, f"stock-{normal}"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=30, check=False, env={"HOME": str(home), "PYTHONPATH": "."}
    )
    assert (done.returncode, "sent" in done.stdout) == (0, True), done.stderr
    assert not list(home.iterdir())


def test_pinned_to_the_address_of_its_url(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """Behind a forwarded port nothing goes past it: no send, no resolution; check-backs and receives come back."""
    transactional, seen, asked = topic(Kind.TRANSACTION), Seen(), threading.Event()

    def check(_: HalfMessage) -> CheckAnswer:
        asked.set()
        return CheckAnswer.COMMIT

    with Switchboard() as board:
        proxy = urlsplit(stack.urls()["ORDERS_BROKER_URL"])
        forwarded = proxy._replace(netloc=board.link("forward", proxy.hostname or "", proxy.port or 0))
        broker = opened("&pinned=1", url=forwarded.geturl())
        producer = broker.producer("order", check, topics=[transactional])
        broker.consumer(f"stock-{transactional}", transactional, seen)
        producer.resolve(producer.begin(Message(transactional, b"through")), Resolution.COMMIT)
        eventually(lambda: seen.bodies == {b"through"}, within=10)
        half = producer.begin(Message(transactional, b"left open"))
        with board.refused("forward"):
            with pytest.raises(BrokerError):
                producer.begin(Message(transactional, b"past it"))
            with pytest.raises(BrokerError):
                producer.resolve(half, Resolution.ROLLBACK)
        eventually(lambda: seen.bodies == {b"through", b"left open"}, within=10)
        assert asked.is_set()
        broker.close()


_VICTIM = """
import os, signal, sys
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Message, Resolution
broker = open_broker(sys.argv[1], BrokerOptions())
producer = broker.producer("order", lambda half: CheckAnswer.UNKNOWN, topics=[sys.argv[2]])
producer.resolve(producer.begin(Message(sys.argv[2], b"half")), Resolution.ROLLBACK)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_dead_are_not_asked(stack: Stack, topic: Callable[[Kind], str], opened: Open) -> None:
    """After eight processes were killed, check-backs go to the one that lives, not to each of the dead in turn."""
    transactional = topic(Kind.TRANSACTION)
    for _ in range(8):
        words = [sys.executable, "-c", _VICTIM, stack.urls()["ORDERS_BROKER_URL"], transactional]
        done = subprocess.run(words, capture_output=True, timeout=30, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    _expect_asked_at_once(opened(), transactional)


def test_those_who_know_no_answer_are_not_asked(topic: Callable[[Kind], str], opened: Open) -> None:
    """Producers without a checker send to the topic too; each question goes to the one that answers, at once."""
    transactional = topic(Kind.TRANSACTION)
    mute = opened()
    for _ in range(4):
        mute.producer("order").send(Message(transactional, b"plain"))
    _expect_asked_at_once(opened(), transactional)


def test_a_stream_that_went_deaf_is_noticed(
    topic: Callable[[Kind], str], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client does where it fails to write its settings: it opens a stream, and says nothing on it for 300 s."""
    transactional, writes, deaf, asked = topic(Kind.TRANSACTION), count(1), threading.Event(), threading.Event()
    write = ClientTelemetryManager.setting_write

    def go_deaf(telemetry: ClientTelemetryManager, endpoints: object) -> None:
        telemetry.retrieve_telemetry_stream_stream_call(endpoints, rebuild=True)
        deaf.set()

    def fails_at_second(telemetry: ClientTelemetryManager, endpoints: object) -> None:
        if next(writes) == 2:
            RpcClient.get_channel_io_loop().call_soon_threadsafe(go_deaf, telemetry, endpoints)
        else:
            write(telemetry, endpoints)

    def check(_: HalfMessage) -> CheckAnswer:
        asked.set()
        return CheckAnswer.ROLLBACK

    monkeypatch.setattr(ClientTelemetryManager, "setting_write", fails_at_second)
    producer = opened().producer("order", check, topics=[transactional])
    assert deaf.wait(10)
    producer.begin(Message(transactional, b"half"))
    assert asked.wait(10)


def _expect_asked_at_once(broker: Broker, topic: str) -> None:
    """Of seven half messages, each is asked about within the first three checks, by the one that answers.

    With eight others asked in turn, one of the seven waits for nine rounds.
    """
    asked: dict[str, int] = {}
    all_asked = threading.Event()

    def check(half: HalfMessage) -> CheckAnswer:
        asked.setdefault(half.message_id, half.checks)
        if len(asked) == 7:
            all_asked.set()
        return CheckAnswer.ROLLBACK

    producer = broker.producer("order", check, topics=[topic])
    for _ in range(7):
        producer.begin(Message(topic, b"half"))
    assert all_asked.wait(15), asked
    assert max(asked.values()) <= 3, asked


def _sends(send: Callable[[Message], object], message: Message) -> bool:
    try:
        send(message)
    except BrokerError:
        return False
    return True
