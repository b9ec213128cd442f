"""Tracing: nothing while it is off; what is sent, which traces, and what a collector that is down costs."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import urllib3
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from pydantic import ValidationError
from sqlalchemy import text
from structlog.testing import capture_logs

from common import tracing
from common.config import Settings
from common.db import Database
from common.peer import Peer
from common.redis_client import RedisClient
from common.tracing import on
from common.tracing.sampling import KeyedRatio
from halfmessage.errors import DatabaseUnavailable
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import (
    Broker,
    BrokerOptions,
    CheckAnswer,
    Delivery,
    HalfMessage,
    Message,
    Resolution,
    Verdict,
)
from tests.collector import Collector, Got, collecting
from tests.redis_server import RedisServer, valkey_program
from tests.support import eventually

GOOD = {"port": 1, "jwt_secret": "s" * 32, "database_url": "sqlite://", "broker_url": "embedded:///x"}


def settings(**changed: Any) -> Settings:
    return Settings.model_validate(GOOD | changed)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with collecting() as made:
        yield made


@pytest.fixture
def start() -> Iterator[Callable[..., None]]:
    """Return what switches tracing on, with such settings; it is off again after the test."""
    yield lambda **changed: tracing.start("order", settings(**changed))
    tracing.stop()


def remote(trace_id: int = 0xABC, *, sampled: bool = True) -> Any:
    """Return the context of a span that another process began."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(trace_id, 0xDEF, is_remote=True, trace_flags=flags)))


# ---- off


def test_off_gives_back_what_it_was_given(tmp_path: Path) -> None:
    """No wrapper, no hook and no object is made: the price of tracing that is off is nothing."""
    tracing.start("order", settings())
    with closing(EmbeddedBroker(tmp_path / "broker.db", BrokerOptions())) as broker:
        assert tracing.broker(broker) is broker
    database, work = object(), list
    assert tracing.transactor(database) is database  # type: ignore[arg-type,comparison-overlap]
    assert tracing.rooted("sweep", work) is work
    assert tracing.span("one") is tracing.span("other")
    assert tracing.ids() is None
    assert tracing.exemplar() is None
    submit = tracing.together("place", list, lanes=1, heaviest=1, longest_queue=1, longest_wait=1.0)
    assert submit.__self__.__class__.__module__ == "halfmessage.tx.batch"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url", ["collector:4318", "ftp://collector", "zipkin://collector", "http://", "jaeger+http://x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything starts."""
    with pytest.raises(ValidationError, match="trace"):
        settings(trace=url)


def test_without_the_extra_a_process_says_what_to_install(tmp_path: Path) -> None:
    """It does not start, and does not go on without traces that were asked for."""
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name='opentelemetry')")
    needed = {
        "ORDERS_PORT": "1",
        "ORDERS_JWT_SECRET": "s" * 32,
        "ORDERS_DATABASE_URL": "sqlite://",
        "ORDERS_TRACE": "http://127.0.0.1:4318",
        "PYTHONPATH": f"{tmp_path}:{Path.cwd()}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "goods"], env=os.environ | needed, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("goods: can't start: ORDERS_TRACE is set, and opentelemetry is not installed: pip ")


# ---- which traces


def _share(sampler: KeyedRatio, contexts: Sequence[Any], ids: Sequence[int]) -> float:
    taken = [
        sampler.should_sample(context, one, "request", SpanKind.SERVER).decision is Decision.RECORD_AND_SAMPLE
        for context, one in zip(contexts, ids, strict=True)
    ]
    return sum(taken) / len(taken)


def test_a_client_gets_no_more_traces_sent_than_its_share() -> None:
    """Whatever ids it makes up: small ones would all be taken by a rule that compares them with a bound."""
    sampler, ids = KeyedRatio(0.1, b"key"), range(1, 5001)
    assert _share(sampler, [remote(one) for one in ids], ids) == pytest.approx(0.1, abs=0.02)
    assert _share(sampler, [None] * 5000, ids) == pytest.approx(0.1, abs=0.02)
    assert _share(sampler, [remote(one, sampled=False) for one in ids], ids) == 0


def test_each_service_takes_the_same_traces() -> None:
    """With its rate and its key, or a trace would be torn; without the key no client can tell which."""
    ids = range(1, 1001)
    here, there, stranger = KeyedRatio(0.5, b"key"), KeyedRatio(0.5, b"key"), KeyedRatio(0.5, b"other")
    assert [here.takes(one) for one in ids] == [there.takes(one) for one in ids]
    assert [here.takes(one) for one in ids] != [stranger.takes(one) for one in ids]
    assert all(map(KeyedRatio(1.0, b"").takes, ids))
    assert not any(map(KeyedRatio(0.0, b"").takes, ids))
    assert here.get_description() == "KeyedRatio{0.5}"


def test_a_call_that_no_request_asked_for_begins_no_trace() -> None:
    """What a lease asks its database for is a client's span without a parent."""
    sampler = KeyedRatio(1.0, b"key")
    assert sampler.should_sample(None, 7, "SELECT", SpanKind.CLIENT).decision is Decision.DROP
    assert sampler.should_sample(remote(7), 7, "SELECT", SpanKind.CLIENT).decision is Decision.RECORD_AND_SAMPLE


# ---- what a collector costs


_UNDISTURBED = 40.0  # seconds for some thousand spans, of 0.1 ms each, on a machine that is busy with much else


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _work(spans: int) -> float:
    """Trace so many steps; return how many seconds that took."""
    began = time.perf_counter()
    for _ in range(spans):
        with tracing.span("step"):
            pass
    return time.perf_counter() - began


@pytest.mark.parametrize("scheme", ["", "zipkin+"])
def test_a_collector_that_is_down_is_told_of_once_and_slows_nothing(start: Callable[..., None], scheme: str) -> None:
    """Spans are lost until it is there; work goes on at the speed of tracing, and the process ends in time."""
    port = _closed_port()
    with capture_logs() as logs:
        start(trace=f"{scheme}http://user:hidden@127.0.0.1:{port}", trace_wait=1.0, trace_queue=1000)
        assert _work(3000) < _UNDISTURBED
        eventually(lambda: logs, within=20)
        assert _work(3000) < _UNDISTURBED
        began = time.perf_counter()
        tracing.stop()
        assert time.perf_counter() - began < 8.0
    told = [line for line in logs if line["log_level"] == "warning"]
    assert [line["event"] for line in told] == ["traces can't be sent; spans are lost until they can"]
    assert told[0]["to"] == f"{scheme}http://127.0.0.1:{port}"


def test_a_collector_that_is_back_gets_spans_again(start: Callable[..., None]) -> None:
    """What was lost is counted, and what comes later arrives."""
    port = _closed_port()
    with capture_logs() as logs:
        start(trace=f"http://127.0.0.1:{port}", trace_wait=0.5)
        _work(5)
        eventually(lambda: logs, within=10)
        with closing(Collector(port)) as collector:

            def arrived() -> list[Got]:
                _work(1)
                return collector.find("step")

            eventually(arrived, within=20)
            back = eventually(lambda: [line for line in logs if line["event"] == "traces are sent again"], within=10)
    assert back[0]["spans_lost"] >= 5


def test_a_collector_that_never_answers_bounds_memory_and_the_end(start: Callable[..., None]) -> None:
    """It takes connections and says nothing: a bounded queue, and an end after one call's deadline."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start(trace=f"http://127.0.0.1:{silent.getsockname()[1]}", trace_wait=2.0, trace_queue=4096)
        assert _work(5000) < _UNDISTURBED  # to wait for a call each would take hours
        began = time.perf_counter()
        tracing.stop()
        assert time.perf_counter() - began < 8.0  # all that waits would take eight calls of two seconds


def test_spans_go_to_zipkin_in_its_own_words(start: Callable[..., None]) -> None:
    """At the path that Zipkin has, as its JSON."""
    got: list[tuple[str, bytes]] = []
    with socket.create_server(("127.0.0.1", 0)) as zipkin:

        def answer() -> None:
            connection, _ = zipkin.accept()
            with connection, connection.makefile("rb") as read:
                head = [read.readline()]
                while (line := read.readline()) != b"\r\n":
                    head.append(line)
                length = next(int(line.split()[1]) for line in head if line.lower().startswith(b"content-length"))
                got.append((head[0].decode(), read.read(length)))
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        served = threading.Thread(target=answer)
        served.start()
        start(trace=f"zipkin+http://127.0.0.1:{zipkin.getsockname()[1]}")
        _work(1)
        served.join(20)
    ((line, body),) = got
    assert line.startswith("POST /api/v2/spans ")
    (span,) = json.loads(body)
    assert (span["name"], span["localEndpoint"]["serviceName"]) == ("step", "order")


# ---- messages


class Link:
    """An embedded broker that is traced, and what arrives."""

    def __init__(self, path: Path) -> None:
        self.below = EmbeddedBroker(path, BrokerOptions(check_first_after=0.1, check_interval=0.1))
        self.broker: Broker = tracing.broker(self.below)
        self.got: list[list[Delivery]] = []

    def consume(self, topic: str) -> None:
        def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
            self.got.append(list(deliveries))
            with tracing.span("handled"):
                return [Verdict.ACK] * len(deliveries)

        self.broker.consumer("group", topic, handle, batch=8)


@pytest.fixture
def link(tmp_path: Path, collector: Collector, start: Callable[..., None]) -> Iterator[Link]:
    """Open a traced broker."""
    start(trace=collector.url)
    made = Link(tmp_path / "broker.db")
    yield made
    made.broker.close()


def test_a_message_carries_55_bytes_of_its_trace_and_no_state_of_a_client(link: Link, collector: Collector) -> None:
    """`traceparent` alone, sampled (1) and of a random id (2): `tracestate` is as long as a client likes."""
    producer = link.broker.producer("group")
    with tracing.span("sender"):
        producer.send(Message("topic", b"", properties={"said": "yes"}))
    link.consume("topic")
    delivery = eventually(lambda: link.got)[0][0]
    assert set(delivery.message.properties) == {"said", "traceparent"}
    (sent,) = eventually(lambda: collector.find("send topic"))
    assert delivery.message.properties["traceparent"] == f"00-{sent.trace_id}-{sent.span_id}-03"
    (handled,) = eventually(lambda: collector.find("handled"))
    (process,) = eventually(lambda: collector.find("process topic"))
    assert (handled.parent, handled.trace_id) == (process.span_id, sent.trace_id)
    assert process.attributes["messaging.consumer.group.name"] == "group"


def test_messages_handled_together_are_linked_each_with_its_trace(link: Link, collector: Collector) -> None:
    """The work is in one trace, linked to all; each other trace has a span that names it."""
    producer = link.broker.producer("group")
    for number in range(3):
        with tracing.span(f"sender {number}"):
            producer.send(Message("topic", b""))
    producer.send(Message("topic", b""))
    link.below.producer("group").send(Message("topic", b"", properties={"traceparent": "of somebody else"}))
    link.consume("topic")
    eventually(lambda: sum(map(len, link.got)) == 5)
    sent = eventually(lambda: found if len(found := collector.find("send topic")) == 4 else None)
    assert len({span.trace_id for span in sent}) == 4
    works = eventually(lambda: collector.find("process topic"))
    others = eventually(
        lambda: found if len(found := collector.find("process topic (in a batch)")) + len(works) == 4 else None
    )
    linked = {link for work in works for link in work.links}
    assert linked == {(span.trace_id, span.span_id) for span in sent}
    for other in others:
        assert other.links[0][0] == other.attributes["orders.batch.trace_id"]


def test_a_check_back_goes_on_with_the_trace_of_its_half_message(link: Link, collector: Collector) -> None:
    """Whichever process answers: the context is what the message carries."""
    answers = iter([CheckAnswer.UNKNOWN, CheckAnswer.ROLLBACK])

    def check(half: HalfMessage) -> CheckAnswer:
        assert half.message.properties["traceparent"]
        return next(answers)

    producer = link.broker.producer("group", check)
    with tracing.span("sender"):
        producer.begin(Message("topic", b"", tag="red"))
    checks = eventually(lambda: found if len(found := collector.find("check-back topic")) == 2 else None)
    (half,) = collector.find("send half message topic")
    assert {check.parent for check in checks} == {half.span_id}
    assert {check.links for check in checks} == {((half.trace_id, half.span_id),)}
    assert [check.attributes["orders.check_back.answer"] for check in checks] == ["unknown", "rollback"]
    assert half.attributes["messaging.rocketmq.message.tag"] == "red"


def test_a_message_resolved_outside_of_any_trace_is_settled_in_its_own(link: Link, collector: Collector) -> None:
    """A thread beside has no context; the half message has."""
    producer = link.broker.producer("group")
    half = producer.begin(Message("topic", b""))
    producer.resolve(half, Resolution.COMMIT)
    (settled,) = eventually(lambda: collector.find("commit topic"))
    (begun,) = collector.find("send half message topic")
    assert (settled.trace_id, settled.parent) == (begun.trace_id, begun.span_id)
    link.broker.ping("topic")
    assert link.broker.console().stats().half == 0


# ---- batches, transactions, calls


def test_jobs_of_one_batch_are_linked_in_both_directions(collector: Collector, start: Callable[..., None]) -> None:
    """The leader's trace has the work; who only waited has a span that names it, also where the work failed."""
    start(trace=collector.url)
    waiting, going_on = threading.Event(), threading.Event()

    def run(jobs: Sequence[int]) -> list[int | Exception]:
        if jobs == [0]:
            waiting.set()
            assert going_on.wait(10)
        return [ValueError(str(job)) if job == 2 else job for job in jobs]

    submit = tracing.together("count", run, lanes=1, heaviest=8, longest_queue=8, longest_wait=5.0)

    def ask(job: int) -> int:
        with tracing.span(f"ask {job}"):
            return submit(job)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, 0)
        assert waiting.wait(10)
        rest = [pool.submit(ask, job) for job in (1, 2, 3)]
        queue = submit.__self__._batcher._queue  # type: ignore[attr-defined]
        eventually(lambda: len(queue) == 3)
        going_on.set()
        assert first.result() == 0
        assert sorted(str(future.exception() or future.result()) for future in rest) == ["1", "2", "3"]
    batches = eventually(lambda: found if len(found := collector.find("count")) == 2 else None)
    (batch,) = [one for one in batches if one.links]
    assert batch.attributes["orders.batch.jobs"] == 3
    told = eventually(lambda: found if len(found := collector.find("count (in a batch)")) == 2 else None)
    assert {(one.trace_id, one.parent) for one in told} == set(batch.links)
    assert {one.links for one in told} == {((batch.trace_id, batch.span_id),)}


def test_strangers_do_not_see_our_traces(collector: Collector, start: Callable[..., None]) -> None:
    """A call to one of our services carries the trace; one to any other host does not."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    heads.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        served = threading.Thread(target=answer)
        served.start()
        start(trace=collector.url, stock_url=f"http://127.0.0.1:1,{url}")
        with tracing.span("caller"):
            urllib3.request("GET", f"{url}/", retries=False)
        tracing.stop()
        start(trace=collector.url)
        with tracing.span("caller"):
            urllib3.request("GET", f"{url}/", retries=False)
        served.join(10)
    assert [b"traceparent" in head for head in heads] == [True, False]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_call_to_an_instance_that_discovery_found_carries_the_trace(
    collector: Collector, start: Callable[..., None], host: str
) -> None:
    """It is in no setting, and may be named in any way; an address of IPv6 ends no call to anybody."""
    heads: list[bytes] = []
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.create_server((host.strip("[]"), 0), family=family) as server:
        url = f"http://{host}:{server.getsockname()[1]}"

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    heads.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

        served = threading.Thread(target=answer)
        served.start()
        start(trace=collector.url)
        with closing(Peer("stock", "http://127.0.0.1:1", lambda: "token", timeout=5.0, connections=1)) as stock:
            with tracing.span("caller"):
                urllib3.request("GET", f"{url}/", retries=False)
            stock.use([url])
            with tracing.span("caller"):
                assert stock.call("GET", "/stock") == (204, None)
        served.join(10)
    assert [b"traceparent" in head for head in heads] == [False, True]


def test_so_many_instances_are_known_at_once(start: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were met first are forgotten first; one that is met again counts as new."""
    monkeypatch.setattr(on, "_PEERS", 2)
    start(trace="http://127.0.0.1:1")
    traced = tracing._on
    assert isinstance(traced, on.Tracing)
    for url in ("http://a:1", "http://b:80", "http://a:1", "https://c:443/base"):
        tracing.peer(url)
    asked = ("http://a:1/x", "http://b/x", "https://c/x", "https://c")
    assert [traced._only_ours(url) for url in asked] == ["http://a:1/x", "", "https://c/x", "https://c"]


def test_statements_are_in_the_trace_of_their_transaction(
    tmp_path: Path, collector: Collector, start: Callable[..., None]
) -> None:
    """Named by the file and not by its path; what is only read is no local transaction."""
    (tmp_path / "own.db").touch()
    start(trace=collector.url)
    with closing(Database(f"sqlite:///{tmp_path}/own.db")) as database:
        traced = tracing.transactor(database)
        with tracing.span("reader"), traced.read(snapshot=True) as connection:
            connection.execute(text("SELECT 1"))
        assert traced.transact(lambda connection: connection.scalar(text("SELECT 2"))) == 2
        with pytest.raises(DatabaseUnavailable):
            traced.transact(lambda connection: connection.scalar(text("SELECT 3 FROM nowhere")))
    (reader,) = eventually(lambda: collector.find("reader"))
    eventually(lambda: len(collector.find("local transaction")) == 2)
    statements = collector.find("SELECT own")
    transactions = {span.span_id for span in collector.find("local transaction")}
    assert [span.parent == reader.span_id for span in statements] == [True, False, False]
    assert transactions == {span.parent for span in statements[1:]}


def test_calls_of_redis_are_in_the_trace_without_their_values(
    tmp_path: Path, collector: Collector, start: Callable[..., None]
) -> None:
    """Where a deployment has one; a call that no request asked for begins no trace."""
    server = RedisServer(valkey_program(), tmp_path / "valkey")
    try:
        start(trace=collector.url, redis_url=server.url)
        with closing(RedisClient(server.url)) as client:
            client.ping()
            with tracing.span("caller"):
                client.call(lambda redis: redis.set("orders:key", "a secret"))
        (caller,) = eventually(lambda: collector.find("caller"))
        (call,) = eventually(lambda: collector.find("SET"))
    finally:
        server.close()
    assert call.parent == caller.span_id
    assert "a secret" not in str(call)
    assert collector.find("PING") == []


def test_work_of_its_own_has_a_trace_of_its_own(collector: Collector, start: Callable[..., None]) -> None:
    """Also where it is called in another; logs and measurements name it, and nothing outside of any."""
    start(trace=collector.url)
    ids, exemplar = tracing.ids(), tracing.exemplar()
    assert ids is not None
    assert exemplar is not None
    seen: list[Any] = []
    with tracing.span("outside"):
        tracing.rooted("sweep", lambda: seen.append((ids(), exemplar())))()
    ((told, example),) = seen
    (sweep,) = eventually(lambda: collector.find("sweep"))
    assert told == example == {"trace_id": sweep.trace_id, "span_id": sweep.span_id}
    assert sweep.parent == ""
    assert ids() == {}
    assert exemplar() is None
