"""The client package on the stand-in for its native library, and brokers on it."""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import (
    Broker,
    BrokerOptions,
)
from halfmessage.mq.rocketmq_remoting import callbacks, session
from halfmessage.mq.rocketmq_remoting import consumer as consumer_module
from halfmessage.mq.rocketmq_remoting.broker import RemotingBroker
from tests.native.standin import Package, Standin, compiled, installed
from tests.support import eventually
from tests.unit.rocketmq_remoting.kit import Open


@pytest.fixture(scope="session")
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Return the client package on the compiled stand-in."""
    cache = getattr(request.config, "cache", None)  # planted bugs are tried without
    directory = cache.mkdir("rocketmq4") if cache else tmp_path_factory.mktemp("rocketmq4")
    return Package(installed(directory), compiled(tmp_path_factory.mktemp("native")))


def _traced(*args: Any) -> Callable[..., object]:
    """Make a callback that is seen by coverage's tracer, which knows nothing of threads of C."""
    callback = callbacks.guarded(*args)

    def traced(*received: Any) -> object:
        if sys.gettrace() is None:
            sys.settrace(threading.gettrace())
        return callback(*received)

    return traced


@pytest.fixture
def standin(package: Package, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """Return the stand-in, empty; whatever the test was about, nothing may have segfaulted or leaked."""
    monkeypatch.setattr(session, "guarded", _traced)
    monkeypatch.setattr(consumer_module, "guarded", _traced)
    standin = Standin(package.library)
    with package.visible(), capture_logs():
        yield standin
        crimes, running, live = standin.crimes, standin.dll.standin_running(), standin.dll.standin_live_messages()
        standin.dll.standin_reset()
    assert (crimes, running, live) == ("", 0, 0)


@pytest.fixture
def url(package: Package) -> str:
    return f"rocketmq4://127.0.0.1:9876?library={package.library}"


@pytest.fixture
def open_(standin: Standin, url: str) -> Iterator[Open]:
    """Open brokers that are closed, without leaving a thread, before the stand-in looks for what is left."""
    before = set(threading.enumerate())
    opened: list[Broker] = []

    def factory(**options: float) -> RemotingBroker:
        broker = open_broker(url, BrokerOptions(**({"send_timeout": 2.0} | options)))  # type: ignore[arg-type]
        opened.append(broker)
        assert isinstance(broker, RemotingBroker)
        return broker

    yield factory
    standin.dll.standin_hang(0)
    for broker in opened:
        broker.close()
    eventually(lambda: set(threading.enumerate()) <= before)
