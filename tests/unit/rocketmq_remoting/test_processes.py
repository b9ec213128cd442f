"""What needs another process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from halfmessage.errors import BrokerError
from halfmessage.mq.port import (
    Resolution,
)
from tests.native.standin import Package, Standin
from tests.unit.rocketmq_remoting.kit import ROLLBACK, Inbox, Open


def run_child(package: Package, what: str, url: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(package.directory), str(Path(__file__).parents[3])))}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.native.children", what, url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_process_that_closes_nothing_ends(package: Package, url: str) -> None:
    """A process that ends without closing is shut down at exit; without that it would hang for ever."""
    assert run_child(package, "leave", url) == "left\n"


def test_fork(package: Package, url: str) -> None:
    """A child has producers of its own, leaves its parent's alone, and can't resolve its parent's half messages."""
    assert run_child(package, "fork", url).splitlines() == [
        "This half message was begun before a fork; its check-back decides.",
        "child sent",
        "parent sent, child 0",
    ]


def test_changed_pid_is_noticed(open_: Open, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another pid a producer opens anew, and nothing of the parent's is resolved or shut down."""
    broker = open_()
    producer, consumer = broker.producer("order"), broker.consumer("stock", "order_rollback", Inbox())
    half = producer.begin(ROLLBACK)
    parent = producer._session
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -7)
        with pytest.raises(BrokerError, match="before a fork"):
            producer.resolve(half, Resolution.COMMIT)
        producer.send(ROLLBACK)
        assert producer._session is not parent
        consumer.close()
        producer._session.close()
        producer._session = parent
        producer.close()
    assert standin.dll.standin_running() == 2  # the parent's transactional producer and its consumer
    parent.close()
