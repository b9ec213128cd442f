"""The console on RocketMQ, over a broker in memory: what each message is said to be, and what is sent on."""

import itertools
import json
from contextlib import closing
from types import SimpleNamespace

import pytest

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, ConsoleUnavailable, MessageNotFound
from halfmessage.mq import factory
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, MessageView, Resolution, State
from halfmessage.mq.rocketmq_console import console as console_module
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.connections import Connections
from halfmessage.mq.rocketmq_console.console import RocketMQConsole
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.remoting import Address
from tests.unit.rocketmq_store import HALF, Shelves

ADDRESS, NAMESRV = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
TOPIC, GROUP = "me-order_rollback", "me-stock"
RETRY, DEAD, PARKED = f"%RETRY%{GROUP}_{TOPIC}", f"%DLQ%{GROUP}", "TRANS_CHECK_MAX_TIME_TOPIC"
REVIVE = "rmq_sys_REVIVE_LOG_DefaultCluster"
PULL, QUERY = 11, 12  # RequestCode.java
OPS, CHECKER = "RMQ_SYS_TRANS_OP_HALF_TOPIC", "CID_RMQ_SYS_TRANS"
SENT = {"KEYS": "11 12", "REAL_TOPIC": TOPIC, "TRAN_MSG": "true", "PGROUP": TOPIC, "REAL_QID": "3", "tx_id": "5"}
OWN = {"orders__group": "me-order"}
SUBSCRIPTIONS = (("order_rollback", "stock"), ("order_timeout", "order"))


@pytest.fixture
def shelves(monkeypatch: pytest.MonkeyPatch) -> Shelves:
    """Return a broker with the topics that are always there."""
    shelves = Shelves()
    for topic in (HALF, OPS, PARKED, TOPIC, "me-order_timeout"):
        shelves.topics[topic] = []
    monkeypatch.setattr(remoting, "_call", shelves.call)
    monkeypatch.setattr(Connections, "ask", lambda _, server, requests: shelves.ask(server, requests))
    return shelves


@pytest.fixture
def console(shelves: Shelves) -> RocketMQConsole:
    """Return the console of the deployment `me`."""
    assert shelves.topics
    return RocketMQConsole(ADDRESS, ADDRESS, "me", subscriptions=SUBSCRIPTIONS)


def only(found: list[MessageView]) -> MessageView:
    (view,) = found
    return view


def half(shelves: Shelves, message_id: str = "A", **properties: str) -> int:
    return shelves.put(HALF, message_id, b"body", **(SENT | OWN | properties))


def test_a_half_message_is_open_until_it_is_resolved(shelves: Shelves, console: RocketMQConsole) -> None:
    """Listed while open, with its check-backs; dropped, nothing but the half message is left, which says so."""
    half(shelves)
    asked = half(shelves, TRANSACTION_CHECK_TIMES="2")
    view = only(console.find(state=State.HALF))
    assert (view.message_id, view.message.topic, view.message.body, view.state) == (
        "A",
        "order_rollback",
        b"body",
        "half",
    )
    assert (view.message.keys, view.message.properties, view.check_count) == (("11", "12"), {"tx_id": "5"}, 2)
    assert (view.producer_group, view.resolution, view.groups) == ("order", None, ())
    assert (console.stats().half, console.stats().oldest_half_age > 0) == (1, True)
    shelves.put(OPS, "op", f"{asked},".encode())
    shelves.consumed[CHECKER, HALF] = asked
    assert console.find(state=State.HALF) == []
    view = only(console.find(key="12"))
    assert (view.state, view.resolution, console.stats().half) == (State.DONE, Resolution.ROLLBACK, 0)
    assert view.resolved_at == shelves.clock


def test_a_half_message_between_two_checks_is_not_taken_for_rolled_back(
    shelves: Shelves, console: RocketMQConsole
) -> None:
    """RocketMQ is past its last copy, and no index knows the next one yet; another's end is none of its own."""
    half(shelves)
    asked = half(shelves, TRANSACTION_CHECK_TIMES="1")
    shelves.put(OPS, "op", b"7,9,")
    shelves.put(OPS, "op", f"{asked - 1},".encode())
    shelves.consumed[CHECKER, HALF] = asked + 1
    shelves.consumed[CHECKER, OPS] = 2
    view = only(console.find(message_id="A"))
    assert (view.state, view.resolution, view.resolved_at, view.check_count) == (State.HALF, None, None, 1)


def test_a_committed_one_is_ready_then_done(shelves: Shelves, console: RocketMQConsole) -> None:
    """It lies in its topic; whether its group was given it is told by the group's offset."""
    half(shelves)
    shelves.consumed[CHECKER, HALF] = 1
    shelves.put(TOPIC, "A", b"body", **(SENT | OWN))
    view = only(console.find(state=State.READY))
    assert (view.resolution, view.groups[0].group, view.groups[0].attempts) == (Resolution.COMMIT, "stock", 0)
    assert view.resolved_at == shelves.clock
    assert console.stats().pending == 1
    shelves.consumed[GROUP, TOPIC] = 1
    view = only(console.find(message_id="A"))
    assert (view.state, view.groups[0].state, view.groups[0].attempts) == (State.DONE, State.DONE, 1)
    assert (console.stats().pending, console.find(state=State.READY)) == (0, [])


def test_a_plain_message_was_never_resolved(shelves: Shelves, console: RocketMQConsole) -> None:
    """Though the adapter sends it as a half message on such a topic; an empty body is empty again."""
    shelves.put(TOPIC, "P", b"\x00", **(SENT | OWN | {"orders__plain": "1", "orders__empty": "1"}))
    view = only(console.find(topic="order_rollback"))
    assert (view.resolution, view.message.body) == (None, b"")


def test_a_delayed_message_is_found_by_key(shelves: Shelves, console: RocketMQConsole) -> None:
    """RocketMQ lists none; it is known where it is due."""
    shelves.put("rmq_sys_wheel_timer", "T", b"x", KEYS="11", REAL_TOPIC="me-order_timeout", orders__deliver_at="99")
    view = only(console.find(key="11"))
    assert (view.message.topic, view.state, view.deliver_at) == ("order_timeout", State.DELAYED, 99)
    assert console.find(state=State.DELAYED) == []


def test_what_is_nowhere_has_no_age(
    shelves: Shelves, console: RocketMQConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes to look: a clock that ticks between two looks makes nothing old."""
    ticks = itertools.count(now_ms())
    monkeypatch.setattr(console_module, "now_ms", lambda: next(ticks))
    assert shelves.topics
    assert console.stats().oldest_half_age == 0.0
    assert {backlog.oldest_age for backlog in console.backlog()} == {0.0}


def test_what_is_another_s_is_not_ours(shelves: Shelves, console: RocketMQConsole) -> None:
    """Half, parked and delayed messages of all share their topics."""
    half(shelves, REAL_TOPIC="you-order_rollback")
    shelves.put(PARKED, "B", **(SENT | {"REAL_TOPIC": "order_rollback"}))
    assert console.find() == console.find(key="11") == console.find(state=State.HALF) == []
    assert (console.stats().half, console.stats().parked) == (0, 0)


def test_a_name_server_tells_which_broker_to_look_into(shelves: Shelves, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console of a broker's URL asks it at each look: of none, or of several, no console tells everything."""
    half(shelves)
    brokers = {"a": ADDRESS}
    monkeypatch.setattr(remoting, "masters", lambda namesrv: brokers if namesrv == NAMESRV else {})
    monkeypatch.setitem(factory._ROCKETMQ, "rocketmq", lambda *_: SimpleNamespace(close=list))  # its client is an extra
    url = f"rocketmq://127.0.0.1:1?namesrv={NAMESRV.host}:{NAMESRV.port}&prefix=me"
    with closing(open_broker(url, BrokerOptions(), subscriptions=SUBSCRIPTIONS)) as broker:
        console = broker.console()
        found = console.find(state=State.HALF)
        assert found == RocketMQConsole(ADDRESS, NAMESRV, "me", subscriptions=SUBSCRIPTIONS).find()
        assert (len(found), console.stats().half, len(console.backlog())) == (1, 1, len(SUBSCRIPTIONS))
        for send_on in (console.resend, console.resume):
            with pytest.raises(MessageNotFound):
                send_on("no such message")
        with pytest.raises(ConsoleUnavailable, match="deleteSubGroup"):
            console.forget("stock")
        for others in ({}, {"a": ADDRESS, "b": ADDRESS}):
            brokers = others
            with pytest.raises(ConsoleUnavailable, match=f"knows {len(others)} brokers"):
                console.find()


def test_counts_look_at_a_bounded_number(
    shelves: Shelves, console: RocketMQConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many dead letters there are, a scrape looks at the newest so many."""
    monkeypatch.setattr(console_module, "_COUNTED", 2)
    for message_id in "ABC":
        shelves.put(TOPIC, message_id, b"body", **SENT)
        shelves.put(DEAD, message_id, b"body", redeliveries=3, **SENT)
    assert console.stats().dead == 2
    assert len(console.find(state=State.DEAD)) == 3


def test_a_dead_letter_is_resent_once(shelves: Shelves, console: RocketMQConsole) -> None:
    """A copy goes where its group's redeliveries lie, without its past; the old one counts as gone, until a new one."""
    shelves.put(TOPIC, "A", b"body", **SENT)
    shelves.put(DEAD, "A", b"body", redeliveries=3, **(SENT | {"1ST_POP_TIME": "9"}))
    shelves.consumed[GROUP, TOPIC] = 1
    view = only(console.find(state=State.DEAD))
    assert (view.groups[0].state, view.groups[0].attempts, console.stats().dead) == (State.DEAD, 3, 1)
    console.resend("A")
    assert shelves.created == [RETRY]
    sent = only(console.find(message_id="A"))
    assert (sent.state, sent.message, sent.groups[0].attempts, console.stats().dead) == (
        State.READY,
        view.message,
        0,
        0,
    )
    assert sent.born_at == view.born_at
    copy = shelves.topics[RETRY][0]
    assert b"TRAN_MSG" not in copy
    assert b"1ST_POP_TIME" not in copy
    with pytest.raises(MessageNotFound):
        console.resend("A")
    shelves.put(DEAD, "A", b"body", redeliveries=1, **(SENT | {"orders__onward_of": f"{DEAD}:0:0"}))
    assert only(console.find(state=State.DEAD)).groups[0].attempts == 1
    console.resend("A")
    assert len(shelves.topics[RETRY]) == 2


def test_no_half_message_is_checked_before_its_time(console: RocketMQConsole) -> None:
    """RocketMQ has no request for it, which is said."""
    with pytest.raises(ConsoleUnavailable, match="times of its own"):
        console.check_now("A")


def test_a_parked_half_message_is_resumed_once(shelves: Shelves, console: RocketMQConsole) -> None:
    """It becomes a half message that no producer was asked about yet, of the same producers; parked anew, it counts."""
    half(shelves, TRANSACTION_CHECK_TIMES="15")
    shelves.consumed[CHECKER, HALF] = 1
    shelves.put(PARKED, "A", b"body", **(SENT | OWN | {"TRANSACTION_CHECK_TIMES": "15"}))
    view = only(console.find(state=State.PARKED))
    assert (view.check_count, view.resolution, console.stats().parked) == (15, None, 1)
    console.resume("A")
    view = only(console.find(state=State.HALF))
    assert (view.message_id, view.check_count, view.producer_group, console.stats().parked) == ("A", 0, "order", 0)
    assert (console.find(state=State.PARKED), view.message.properties) == ([], {"tx_id": "5"})
    assert b"PGROUP\x01me-order_rollback" in shelves.topics[HALF][1]
    with pytest.raises(MessageNotFound):
        console.resume("A")
    shelves.consumed[CHECKER, HALF] = 2
    shelves.put(PARKED, "A", b"body", **(SENT | OWN | {"orders__onward_of": f"{PARKED}:0:0"}))
    assert only(console.find(state=State.PARKED)).message_id == "A"


@pytest.mark.parametrize("unlisted", [set(), {"rmq_sys_wheel_timer"}])
def test_the_backlog_is_what_waits_and_what_was_not_answered_for(
    shelves: Shelves, console: RocketMQConsole, unlisted: set[str]
) -> None:
    """By what RocketMQ keeps of pops: checkpoints, less what was acknowledged, one by one or many at once.

    RocketMQ 5.2 lets nobody pull its timers; of these only marks of pops are looked at.
    """
    shelves.unlisted = unlisted
    for number in range(9):
        shelves.put(TOPIC, f"M{number}", **SENT)
    first = shelves.clock - 8
    shelves.put(RETRY, "R", redeliveries=1, **SENT)
    shelves.consumed[GROUP, TOPIC] = 7
    pop = {"c": GROUP, "t": TOPIC, "q": 0, "pt": 5, "it": 1}
    shelves.put(REVIVE, "old", json.dumps({**pop, "so": 9, "n": 1, "bm": 0, "d": [0]}).encode(), TAGS="ck")
    shelves.consumed["CID_RMQ_SYS_REVIVE_GROUP", REVIVE] = 1
    for body, tag in (
        ({**pop, "so": 0, "n": 4, "bm": 0b0010, "d": [0, 1, 2, 4]}, "ck"),
        ({**pop, "so": 5, "n": 2, "bm": 0}, "ck"),
        ({**pop, "so": 0, "ao": 2}, "ack"),
        ({**pop, "so": 5, "aol": [5, 6]}, "bAck"),
        ({**pop, "c": "you-stock", "so": 0, "n": 1, "bm": 0, "d": [0]}, "ck"),
    ):
        shelves.put(REVIVE, "x", json.dumps(body).encode(), TAGS=tag)
    put_off = {**pop, "so": 6, "n": 1, "bm": 0, "pt": now_ms(), "it": 60_000}
    for body, real_topic in ((put_off, REVIVE), ({**put_off, "pt": 7}, REVIVE), ({}, "me-order_timeout")):
        shelves.put("rmq_sys_wheel_timer", "x", json.dumps(body).encode(), TAGS="ck", REAL_TOPIC=real_topic)
    for tag in ("timeout", "ack", "bAck"):
        shelves.put("rmq_sys_wheel_timer", "x", b"{}", TAGS=tag, REAL_TOPIC="me-order_timeout")
    rollbacks, timeouts = console.backlog()
    assert (rollbacks.group, rollbacks.topic, rollbacks.waiting, rollbacks.in_flight) == (
        "stock",
        "order_rollback",
        3,
        3,
    )
    assert rollbacks.oldest_age == pytest.approx((now_ms() - first) / 1000, abs=5)
    assert (timeouts.group, timeouts.waiting, timeouts.in_flight, timeouts.oldest_age) == ("order", 0, 0, 0.0)
    assert shelves.viewed == (5 if unlisted else 0)


def test_checkpoints_of_an_unknown_form_are_told(shelves: Shelves, console: RocketMQConsole) -> None:
    """Not taken for nothing in flight."""
    shelves.put(REVIVE, "x", b'{"c": 1}', TAGS="ck")
    with pytest.raises(BrokerError, match="not known"):
        console.backlog()


@pytest.mark.parametrize("lies", [TOPIC, RETRY, DEAD])
def test_what_was_committed_is_neither_half_nor_parked(shelves: Shelves, console: RocketMQConsole, lies: str) -> None:
    """Though a check stored it anew just before: not listed, not counted, not resumed, wherever else it lies."""
    for number in range(3):
        half(shelves, f"H{number}")
        half(shelves, f"H{number}", TRANSACTION_CHECK_TIMES="1")
        shelves.put(PARKED, f"P{number}", **(SENT | OWN | {"TRANSACTION_CHECK_TIMES": "15"}))
        for name in "HP":
            shelves.put(lies, f"{name}{number}", **(SENT | OWN))
    half(shelves, "open")
    shelves.put(PARKED, "parked", **(SENT | OWN | {"TRANSACTION_CHECK_TIMES": "15"}))
    stats = console.stats()
    assert (stats.half, stats.parked) == (1, 1)
    assert [view.message_id for view in console.find(state=State.HALF)] == ["open"]
    assert [view.message_id for view in console.find(state=State.PARKED)] == ["parked"]
    with pytest.raises(MessageNotFound):
        console.resume("P0")
    assert only(console.find(message_id="P0")).resolution is Resolution.COMMIT


def test_a_message_that_was_committed_twice_was_delivered_twice(shelves: Shelves, console: RocketMQConsole) -> None:
    """Two check-backs half a second apart: it lies twice in its topic; with its time the first one."""
    shelves.put(TOPIC, "A", **(SENT | OWN))
    first = shelves.clock
    shelves.put(TOPIC, "A", **(SENT | OWN))
    for consumed, state, attempts in ((0, State.READY, 0), (1, State.READY, 1), (2, State.DONE, 2)):
        shelves.consumed[GROUP, TOPIC] = consumed
        view = only(console.find(message_id="A"))
        assert (view.state, view.groups[0].attempts, view.resolved_at) == (state, attempts, first)
    shelves.put(RETRY, "A", redeliveries=1, **(SENT | OWN))
    shelves.consumed[GROUP, RETRY] = 1
    assert only(console.find(message_id="A")).groups[0].attempts == 3


def test_a_resumed_message_is_counted_on_and_a_resent_one_anew(shelves: Shelves, console: RocketMQConsole) -> None:
    """Resuming says nothing to the group; resending begins its attempts again."""
    shelves.put(TOPIC, "A", **(SENT | OWN))
    shelves.put(TOPIC, "A", **(SENT | OWN | {"orders__onward_of": f"{PARKED}:0:0"}))
    shelves.consumed[GROUP, TOPIC] = 2
    assert only(console.find(message_id="A")).groups[0].attempts == 2
    for _ in range(2):  # each of both died
        shelves.put(DEAD, "A", redeliveries=3, **(SENT | OWN))
    view = only(console.find(message_id="A"))
    assert (view.state, view.groups[0].attempts) == (State.DEAD, 6)
    console.resend("A")
    shelves.consumed[GROUP, RETRY] = 1
    view = only(console.find(message_id="A"))
    assert (view.state, view.groups[0].attempts) == (State.DONE, 1)


def test_a_key_with_the_same_hash_is_another_key(shelves: Shelves, console: RocketMQConsole) -> None:
    """RocketMQ's index knows keys by their hash, and finds a message for another's key."""
    shelves.put(TOPIC, "A", **SENT)
    shelves.indexed[TOPIC].append(({"other"}, shelves.topics[TOPIC][0]))
    assert console.find(key="other") == console.find(message_id="other") == []
    with pytest.raises(MessageNotFound):
        console.resend("other")


@pytest.mark.parametrize("way", ["resend", "resume"])
def test_what_lies_nowhere_can_t_be_sent_on(shelves: Shelves, console: RocketMQConsole, way: str) -> None:
    """Neither a stranger nor a message that is done."""
    shelves.put(TOPIC, "A", **SENT)
    for message_id in ("A", "nobody"):
        with pytest.raises(MessageNotFound):
            getattr(console, way)(message_id)


def test_newest_first_and_no_more_than_asked_for(shelves: Shelves, console: RocketMQConsole) -> None:
    """Of all topics, read page by page."""
    for number in range(5):
        half(shelves, f"H{number}")
        shelves.put("me-order_timeout", f"T{number}", KEYS="1")
    assert [view.message_id for view in console.find(limit=3)] == ["T4", "H4", "T3"]
    assert [view.message_id for view in console.find(topic="order_rollback", limit=2)] == ["H4", "H3"]
    assert len(console.find()) == 10


def test_pages_go_on_where_one_ended(shelves: Shelves, console: RocketMQConsole) -> None:
    """Over all topics and by birth, each message once; a page before another costs no look-up of what it leaves out."""
    for number in range(5):
        half(shelves, f"H{number}")
        shelves.put("me-order_timeout", f"T{number}", KEYS="1")
    first = console.find(limit=3)
    second = console.find(limit=3, before=first[-1].cursor)
    assert [view.message_id for view in second] == ["H3", "T2", "H2"]
    assert [view.message_id for view in console.find(topic="order_timeout", before=second[-1].cursor)] == ["T1", "T0"]
    assert console.find(key="1", before=(0, "")) == []


def test_pages_look_at_a_bounded_number(
    shelves: Shelves, console: RocketMQConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each queue, the newest that a page is for: those before are found by a page after, by key or by id."""
    monkeypatch.setattr(console_module, "PAGED", 3)
    for number in range(5):
        half(shelves, f"H{number}")
    assert [view.message_id for view in console.find()] == ["H4", "H3", "H2"]
    assert [view.message_id for view in console.find(message_id="H0")] == ["H0"]


def test_pages_lead_to_the_oldest_message(shelves: Shelves, console: RocketMQConsole) -> None:
    """However far that is: each page looks at some more than its own, wherever it begins."""
    number = 2_000
    for count in range(number):
        half(shelves, f"H{count:04}")
        shelves.put("me-order_timeout", f"T{count:04}", KEYS="1")
        shelves.put(OPS, "", str(count).encode())
    shelves.consumed[CHECKER, HALF] = shelves.consumed[CHECKER, OPS] = number
    seen: list[str] = []
    before, most = None, 0
    while found := console.find(limit=100, before=before):
        before = found[-1].cursor
        seen += [view.message_id for view in found]
        pulled = [fields for code, fields in shelves.asked if code == PULL and fields["topic"] != OPS]
        shelves.asked.clear()
        most = max(most, len(pulled))
    assert seen == [f"{kind}{count:04}" for count in reversed(range(number)) for kind in "TH"]
    assert most < 300, "messages are given two at a time here"


def test_a_late_copy_does_not_hide_newer_messages(shelves: Shelves, console: RocketMQConsole) -> None:
    """A check stores a half message anew behind all that were sent meanwhile."""
    for count in range(100):
        half(shelves, f"H{count:03}")
    for late in range(3):
        half(shelves, f"H{late:03}", TRANSACTION_CHECK_TIMES="1", orders__born_at=str(1_001 + late))
    assert [view.message_id for view in console.find(limit=50)] == [f"H{count:03}" for count in range(99, 49, -1)]
    until = console.find(message_id="H060")[0].born_at
    assert [v.message_id for v in console.find(limit=3, born_until=until)] == ["H059", "H058", "H057"]


def test_what_a_group_was_given_and_what_was_born_between_two_times(shelves: Shelves, console: RocketMQConsole) -> None:
    """A half message is no group's yet; a time begins with its first and ends before its last millisecond."""
    half(shelves, "H")
    shelves.put(TOPIC, "A", b"body", **(SENT | OWN))
    shelves.put("me-order_timeout", "T", KEYS="1")
    assert [view.message_id for view in console.find(group="stock")] == ["A"]
    assert [view.message_id for view in console.find(group="order")] == ["T"]
    assert console.find(group="nobody") == console.find(group="stock", message_id="H") == []
    born = {view.message_id: view.born_at for view in console.find()}
    assert [v.message_id for v in console.find(born_from=born["H"], born_until=born["T"])] == ["A", "H"]
    assert [v.message_id for v in console.find(born_from=born["A"])] == ["T", "A"]


def test_what_a_broker_answers_in_an_unknown_form_is_told(shelves: Shelves, console: RocketMQConsole) -> None:
    """Not shown as nothing."""
    shelves.topics[TOPIC].append(b"\x00\x00\x00\x09whatever")
    with pytest.raises(BrokerError, match="not known"):
        console.find(state=State.READY)


def test_the_admin_tool_reads_what_is_there(shelves: Shelves) -> None:
    """Another reader is asked by topic, where there is something, but for timers, which it does not know."""
    half(shelves)
    shelves.put("rmq_sys_wheel_timer", "T", KEYS="11", REAL_TOPIC="me-order_timeout", orders__deliver_at="99")
    asked = []

    class Tool:
        def messages_by_key(self, topic: str, key: str) -> list[StoredMessage]:
            asked.append((topic, key))
            return [StoredMessage("A", topic, SENT, b"as the tool says", 0, None)]

        def messages_by_id(self, topic: str, message_id: str) -> list[StoredMessage]:
            return self.messages_by_key(topic, message_id)

    found = RocketMQConsole(ADDRESS, ADDRESS, "me", subscriptions=SUBSCRIPTIONS, reader=Tool()).find(key="11")
    assert asked == [(HALF, "11")]
    assert {view.message.body for view in found} == {b"as the tool says", b""}


def test_of_many_messages_only_the_newest_are_looked_up(
    shelves: Shelves, console: RocketMQConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit spares the lookups of the others, ten requests each: those of a thousand took ten seconds."""
    for number in range(30):
        shelves.put(TOPIC, f"M{number:02}", b"body", **(SENT | OWN))
    monkeypatch.setattr(console_module, "_TOGETHER", 2)
    found = console.find(state=State.READY, limit=2)
    assert [view.message_id for view in found] == ["M29", "M28"]
    assert {fields["key"] for code, fields in shelves.asked if code == QUERY} == {"M29", "M28"}
    assert len(console.find(state=State.READY)) == 30


TWO = (("order_rollback", "gifts"), *SUBSCRIPTIONS)


def test_each_group_of_a_topic_is_told_of(shelves: Shelves) -> None:
    """A message is where the group is that needs attention most; what lies with one group is not the other's."""
    console = RocketMQConsole(ADDRESS, ADDRESS, "me", subscriptions=TWO)
    shelves.put(TOPIC, "A", b"body", **(SENT | OWN))
    shelves.consumed[GROUP, TOPIC] = 1
    view = only(console.find(state=State.READY))
    assert [(group.group, group.state, group.attempts) for group in view.groups] == [
        ("gifts", State.READY, 0),
        ("stock", State.DONE, 1),
    ]
    assert [(behind.group, behind.waiting) for behind in console.backlog()] == [
        ("gifts", 1),
        ("stock", 0),
        ("order", 0),
    ]
    shelves.consumed["me-gifts", TOPIC] = 1
    assert only(console.find(key="11")).state is State.DONE
    shelves.put(RETRY, "A", b"body", redeliveries=1, **(SENT | OWN))
    view = only(console.find(state=State.READY))
    assert {group.group: (group.state, group.attempts) for group in view.groups} == {
        "gifts": (State.DONE, 1),
        "stock": (State.READY, 1),
    }


def test_what_is_dead_to_one_group_is_resent_to_that_one(shelves: Shelves) -> None:
    """The other one had it and gets it no more; dead to both, it goes to both, and counts as one dead letter."""
    console = RocketMQConsole(ADDRESS, ADDRESS, "me", subscriptions=TWO)
    shelves.put(TOPIC, "A", b"body", **SENT)
    shelves.put(DEAD, "A", b"body", redeliveries=3, **SENT)
    shelves.consumed[GROUP, TOPIC] = shelves.consumed["me-gifts", TOPIC] = 1
    view = only(console.find(state=State.DEAD))
    assert {group.group: group.state for group in view.groups} == {"gifts": State.DONE, "stock": State.DEAD}
    console.resend("A")
    assert shelves.created == [RETRY]
    shelves.put("%DLQ%me-gifts", "A", b"body", redeliveries=3, **SENT)
    shelves.put(DEAD, "A", b"body", redeliveries=3, **SENT)
    assert console.stats().dead == 1
    console.resend("A")
    assert shelves.created == [RETRY, f"%RETRY%me-gifts_{TOPIC}"]
    assert console.stats().dead == 0
