"""Check now: an order's half messages asked about at once, by the broker or by the service that answers it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.errors import PeerUnavailable
from halfmessage.errors import ConsoleUnavailable
from halfmessage.mq.embedded.console import EmbeddedConsole
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, CheckAnswer, HalfMessage, Message, State
from tests.support import eventually
from tests.unit.console_letters import Lying
from tests.unit.console_site import Browser, play, running, token

HOSTILE = "<script>alert(1)</script>"
PLACING = Message("order_rollback", b"{}", keys=("7",), properties={"tx_id": "41", "deliver_if": "aborted"})


class Played:
    """The services, played: `outcome` is what a record says when a service is asked to check it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.outcome: str | None = "aborted"
        self.is_up = True

    def get(self, _service: str, _path: str, _token: str, **_asked: Any) -> Mapping[str, Any]:
        raise PeerUnavailable("The order service did not answer.")

    def post(self, service: str, path: str, _token: str, *_body: Any) -> Mapping[str, Any]:
        self.asked.append(f"{service} {path}")
        if not self.is_up:
            raise PeerUnavailable("It did not answer.")
        return {"tx_id": "41", "outcome": self.outcome}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    made = Played()
    play(monkeypatch, made)
    return made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Return a broker that asks in an hour."""
    made = open_broker(f"embedded:///{tmp_path}/broker.db", BrokerOptions(check_first_after=3600.0))
    yield made
    made.close()


@pytest.fixture
def browser(tmp_path: Path, broker: Broker, played: Played) -> Iterator[Browser]:
    assert broker
    assert played
    with running(tmp_path) as service:
        service.start[1]()  # ids
        yield Browser(service, token())


def check(browser: Browser, why: str = "") -> str:
    """Press the button; return what the page says then."""
    html = browser.get("/orders/7").text
    form = dict(re.findall(r'name="(csrf|form_id)" value="([0-9a-f]+)"', html))
    answer = browser.post("/orders/7/check", form | {"why": why})
    assert answer.status_code == 303
    return browser.get(answer.headers["Location"]).text


def said(html: str) -> str:
    return html.partition('role="status"><strong>')[2].partition("</p>")[0]


def test_the_broker_asks_at_once(browser: Browser, broker: Broker, played: Played) -> None:
    """And the checker's answer alone decides; nobody else is asked. Who and why are written down."""
    asked: list[HalfMessage] = []

    def checker(half: HalfMessage) -> CheckAnswer:
        asked.append(half)
        return CheckAnswer.ROLLBACK

    half = broker.producer("order", checker, topics=[PLACING.topic]).begin(PLACING)
    html = check(browser, why=f"stuck {HOSTILE}")
    assert "The broker asks now about its half message" in said(html)
    eventually(lambda: broker.console().find(message_id=half.message_id)[0].state is State.DONE)
    assert [one.message_id for one in asked] == [half.message_id]
    assert played.asked == []
    table = html.partition('id="done"')[2]
    assert "<td>root</td><td>check now</td>" in table
    assert f"stuck {HOSTILE}" not in html
    assert "stuck &lt;script&gt;" in table
    assert "nothing to do" in said(check(browser))


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("aborted", "is given up for good"), ("committed", "is committed"), (None, "is not decided")],
)
def test_where_the_broker_can_not_be_told_the_service_decides(
    browser: Browser, broker: Broker, played: Played, monkeypatch: pytest.MonkeyPatch, outcome: str | None, words: str
) -> None:
    """By its record, as in a check-back; then order sweeps. The half message is left to the broker."""

    def refuse(*_: object) -> None:
        raise ConsoleUnavailable("RocketMQ asks about half messages at times of its own.")

    monkeypatch.setattr(EmbeddedConsole, "check_now", refuse)
    half = broker.producer("order").begin(PLACING)
    played.outcome = outcome
    told = said(check(browser))
    assert "at times of its own. So order was asked itself: transaction 41" in told
    assert words in told
    assert played.asked == ["order /admin/records/41/check", "order /sweep"]
    assert broker.console().find(message_id=half.message_id)[0].state is State.HALF
    played.is_up = False
    assert "not known" in said(check(browser))


def test_the_broker_tells_of_an_order_whose_service_is_gone(browser: Browser, broker: Broker) -> None:
    """Why nothing goes on, and what will; each message is led to. Without one that is open, that is said."""
    assert "The broker keeps no message of it" in browser.get("/orders/7").text
    broker.producer("order").begin(PLACING)
    html = browser.get("/orders/7").text
    assert "The order and what happened to it: The order service did not answer." in html
    sentence = html.partition('<p class="sentence unknown">')[2].partition("</p>")[0]
    assert "Placing has begun, and the broker has not heard how it ended (the next check is due at" in sentence
    kept = html.partition('<h2 id="kept">')[2].partition("</section>")[0]
    (half,) = broker.console().find(key="7")
    assert f'<a href="/messages/{half.message_id}">' in kept
    assert '<a href="/payments/7">' in kept


@pytest.mark.parametrize(("state", "words"), [("parked", "asked once how placing ended"), ("dead", "is a dead letter")])
def test_what_waits_for_an_operator_is_said_without_the_order_service(
    tmp_path: Path, played: Played, state: str, words: str
) -> None:
    """A parked half message, and a dead letter."""
    assert played
    lying = Lying(tmp_path)
    try:
        if state == "dead":
            lying.dead()
        else:
            half = lying.producer.begin(PLACING)
            lying.until(half.message_id, State.PARKED)
        with running(tmp_path) as service:
            service.start[1]()
            html = Browser(service, token()).get("/orders/7").text
    finally:
        lying.close()
    stuck = html.partition('<p class="sentence stuck">')[2].partition("</p>")[0]
    assert stuck.startswith("Stuck: ")
    assert words in stuck


def test_users_are_not_told_of_messages(tmp_path: Path, played: Played, broker: Broker) -> None:
    """The broker knows no owners: only order could say whose order it is."""
    assert played
    broker.producer("order").begin(PLACING)
    with running(tmp_path) as service:
        service.start[1]()
        html = Browser(service, token("eve", ("orders",))).get("/orders/7").text
    assert "has begun" not in html
    assert 'id="kept"' not in html


def test_an_order_without_a_half_message_has_nothing_to_check(browser: Browser, played: Played) -> None:
    """Which is no failure."""
    assert "nothing to ask about" in said(check(browser))
    assert played.asked == []
