"""Goodbyes for processes that died: each is said once, by a process that lives, and never for one that does."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from halfmessage.errors import BrokerError

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from halfmessage.mq.rocketmq_grpc.goodbyes import Goodbyes
from halfmessage.mq.rocketmq_grpc.place import Place

PLACE = Place("127.0.0.1", 8081)
_DYING = """
import os, signal, sys
from pathlib import Path
from halfmessage.mq.rocketmq_grpc.goodbyes import Goodbyes
from halfmessage.mq.rocketmq_grpc.place import Place
Goodbyes(Place("127.0.0.1", 8081), Path(sys.argv[1])).greeted(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""


class Client:
    """A client that keeps in whose name goodbye was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.error: Exception | None = None
        self.client_configuration = SimpleNamespace(credentials=SimpleNamespace(ak="", sk=""), namespace="")
        self.route_manager = SimpleNamespace(get_all_endpoints=lambda: {"a": "endpoints"})
        self.rpc_client = SimpleNamespace(notify_client_termination_async=self._notify)

    def _notify(self, _endpoints: Any, _request: Any, metadata: Any, timeout: float) -> "Future[None]":
        assert timeout > 0
        if self.error:
            raise self.error
        self.said.append(dict(metadata)["x-mq-client-id"])
        done: Future[None] = Future()
        done.set_result(None)
        return done


@pytest.fixture
def goodbyes(tmp_path: Path) -> Callable[[], Goodbyes]:
    """Make them as so many processes would."""
    return lambda: Goodbyes(PLACE, tmp_path)


def dies(tmp_path: Path, client_id: str) -> None:
    """Have a process greet, and be killed."""
    words = [sys.executable, "-c", _DYING, str(tmp_path), client_id]
    assert subprocess.run(words, check=False, env=os.environ | {"PYTHONPATH": "."}).returncode == -9


def test_the_dead_are_said_goodbye_for_once(goodbyes: Callable[[], Goodbyes], tmp_path: Path) -> None:
    """The process that looks first does it; the living are left alone, one's own and another's."""
    one, other, client = goodbyes(), goodbyes(), Client()
    one.greeted("host@1@0@x")
    other.greeted("host@2@0@x")
    dies(tmp_path, "host/odd@3@0@x")
    one.say(client)
    other.say(client)
    assert client.said == ["host/odd@3@0@x"]


def test_who_said_goodbye_itself_is_forgotten(goodbyes: Callable[[], Goodbyes]) -> None:
    """No process says it again, and saying it twice is no error."""
    one, client = goodbyes(), Client()
    one.greeted("host@1@0@x")
    one.said("host@1@0@x")
    one.said("host@1@0@x")
    goodbyes().say(client)
    assert client.said == []


def test_a_goodbye_that_failed_is_said_later(goodbyes: Callable[[], Goodbyes], tmp_path: Path) -> None:
    """RocketMQ away: the error is told, and the dead are not forgotten."""
    client = Client()
    dies(tmp_path, "host@1@0@x")
    client.error = TimeoutError()
    with pytest.raises(BrokerError):
        goodbyes().say(client)
    client.error = None
    goodbyes().say(client)
    assert client.said == ["host@1@0@x"]


def test_other_brokers_are_not_told(tmp_path: Path) -> None:
    """A client is known to its own RocketMQ only."""
    client = Client()
    dies(tmp_path, "host@1@0@x")
    Goodbyes(Place("127.0.0.1", 8082), tmp_path).say(client)
    assert client.said == []


def test_without_a_place_for_files_all_else_works(tmp_path: Path) -> None:
    """A directory that can't be made costs time after a kill, nothing else."""
    (tmp_path / "file").touch()
    nowhere, client = Goodbyes(PLACE, tmp_path / "file"), Client()
    nowhere.greeted("host@1@0@x")
    nowhere.say(client)
    nowhere.said("host@1@0@x")
    assert client.said == []
