"""Runs are driven by a message at once, and by the sweep where that is lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halfmessage.errors import BrokerError, DatabaseUnavailable
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, Delivery, Message, Verdict
from halfmessage.saga.definition import Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.model import RunState
from halfmessage.saga.operating import Sagas
from halfmessage.saga.waking import Sweeper, Wake, WokenRuns, message
from tests.contract.saga.shop import Shop
from tests.support import eventually

TOPIC = "saga_due"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Return a log and its participants, empty."""
    made = Shop(f"sqlite:///{tmp_path}/saga.db")
    made.create()
    yield made
    made.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Return an embedded broker."""
    made = open_broker(f"embedded:///{tmp_path}/broker.db", BrokerOptions())
    yield made
    made.close()


def _saga(shop: Shop) -> Saga:
    return Saga("sale", [shop.outside("reserve")], deadline=60)


def _ended(engine: Engine, run_id: int) -> bool:
    return Sagas(engine).show(run_id).state is RunState.DONE


def test_driven_by_a_message(shop: Shop, broker: Broker) -> None:
    """What is started here is driven by an instance that consumes the topic; there is no sweep in this test."""
    engine = shop.make(_saga(shop), wake=Wake(broker.producer("saga"), TOPIC))
    WokenRuns(engine).subscribe(broker, TOPIC, "saga")
    run_id = engine.start("sale", "7")
    eventually(lambda: _ended(engine, run_id))


def test_driven_by_the_sweep(shop: Shop) -> None:
    """What no message wakes is found; a round that fails is followed by another."""
    engine = shop.make(_saga(shop))
    sweep, rounds = engine.sweep, [DatabaseUnavailable("down"), RuntimeError("anything")]

    def failing(**options: Any) -> int:
        if rounds:
            raise rounds.pop()
        return sweep(**options)

    engine.sweep = failing  # type: ignore[method-assign]
    run_id = engine.start("sale", "7")
    sweeper = Sweeper(engine, interval=0.01)
    sweeper.start()
    eventually(lambda: _ended(engine, run_id))
    sweeper.close()
    Sweeper(engine).close()  # that was never started


def test_a_stopped_sweep_leaves_the_rest(shop: Shop) -> None:
    """A process that is to end takes no further run."""
    engine = shop.make(_saga(shop))
    for key in "12":
        engine.start("sale", key)
    stops = iter([False, True])
    assert engine.sweep(stop=lambda: next(stops)) == 1
    assert engine.sweep() == 1


def test_a_broker_that_is_down_fails_no_start(shop: Shop) -> None:
    """The run is written; a sweep finds it."""

    class Down:
        def send(self, _message: Message) -> str:
            raise BrokerError

    engine = shop.make(_saga(shop), wake=Wake(Down(), TOPIC))  # type: ignore[arg-type]
    run_id = engine.start("sale", "7")
    engine.sweep()
    assert _ended(engine, run_id)


def _delivery(body: bytes) -> Delivery:
    return Delivery("1", Message(TOPIC, body), 1, 0)


def test_verdicts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is gone or not due is no reason to try again; a database that is down is; nor is an unreadable one."""
    engine = shop.make(_saga(shop))
    woken = WokenRuns(engine)
    assert woken([_delivery(message(TOPIC, 1).body)]) == [Verdict.ACK]
    for body in (b"{", b"[]", b"{}", json.dumps({"run_id": "x"}).encode()):
        assert woken([_delivery(body)]) == [Verdict.RETRY]
    run_id = engine.start("sale", "7")
    assert woken([_delivery(message(TOPIC, run_id).body)]) == [Verdict.ACK]
    assert _ended(engine, run_id)

    def down(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(engine, "drive", down)
    assert woken([_delivery(message(TOPIC, 1).body)]) == [Verdict.RETRY]
