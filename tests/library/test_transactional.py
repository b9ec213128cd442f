"""Transactional messages in any service: your session, your transaction; on a broker and on an outbox."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from halfmessage import failpoints
from halfmessage.errors import BrokerError, DatabaseUnavailable, DuplicateRow, MessageRefused, Misconfigured
from halfmessage.mq.port import Broker, BrokerOptions, Handler, State
from halfmessage.transactional import Options, TransactionalMessages, running
from halfmessage.transactional.incoming import Subscription
from halfmessage.transactional.outbox import rows
from halfmessage.transactional.running import Running
from halfmessage.transactional.tables import INBOX
from halfmessage.tx.record import AlreadyAborted
from tests import postgresql
from tests.library.shop import FAST, Mail, Paid, Shop
from tests.support import eventually

pytestmark = pytest.mark.embedded("the broker port has contract tests on real servers; this is what stands on it")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return where an empty database is; of MySQL see `tests/real/test_transactional.py`."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop.db"
        return
    server = postgresql.server()
    yield server.create()
    server.close()


def pay_and_die(shop: Shop, point: str, group: str) -> None:
    """Have a process die at a point of a group's first delivery, and return once its message has come again."""
    failpoints.arm(f"{point}=crash", [point])
    with failpoints.recorded() as passed:
        shop.tx.start()
        shop.pay(7)
        eventually(lambda: point in passed)
        failpoints.arm("", [])
        eventually(lambda: passed.count(f"{group}.received") == 2)
        eventually(lambda: shop.tx.status().is_quiet)


def test_what_is_committed_is_told_once(shop: Shop) -> None:
    """The rows and the message, both; its consumer's effect once."""
    shop.tx.start()
    shop.pay(7)
    assert shop.paid() == [7]
    eventually(lambda: shop.mails() == [7])
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.mails() == [7]


def test_what_is_rolled_back_is_not_told(shop: Shop) -> None:
    """Neither rows nor message, and the error is the one that was raised."""
    shop.tx.start()
    with pytest.raises(ZeroDivisionError):
        shop.pay(7, last=lambda _: 1 / 0)
    shop.pay(8)
    eventually(lambda: shop.mails() == [8])
    eventually(lambda: shop.tx.status().is_quiet)
    assert (shop.paid(), shop.mails()) == ([8], [8])


def test_what_is_rolled_back_is_dropped_at_once(tmp_path: Path) -> None:
    """The broker is told; no check-back has to find out."""
    shop = Shop.new(tmp_path, "embedded", Options(broker=FAST.broker.__class__(check_first_after=3600)))
    message = shop.tx.message("order_paid", key=7, body={"order_id": 7})
    with pytest.raises(IntegrityError), message as m, Session(shop.engine) as s, m.begin(s):
        s.execute(insert(Paid), [{"order_id": 7}, {"order_id": 7}])
    assert shop.tx.status().stats.half == 0
    shop.close()


def test_a_statement_that_the_database_refuses_drops_the_message(shop: Shop) -> None:
    """Also where SQLAlchemy sends it only at the end of the block."""
    shop.tx.start()
    shop.pay(7)
    with pytest.raises(IntegrityError):
        shop.pay(7)
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.mails() == [7]


def test_a_body_that_is_known_is_sent_before_the_transaction_begins(shop: Shop) -> None:
    """So that no lock is held while the broker is waited for; it can't be changed then."""
    shop.tx.start()
    with shop.tx.message("order_paid", key=7, body={"order_id": 7}) as m, Session(shop.engine) as s, m.begin(s):
        s.add(Paid(order_id=7))
        with pytest.raises(Misconfigured):
            m.body = {"order_id": 8}
    eventually(lambda: shop.mails() == [7])


def test_a_body_that_was_given_is_not_filled_inside(shop: Shop) -> None:
    """The dict was sent as it was: what is put into it later no consumer would see, so nothing happens at all."""
    body = {"order_id": 0}

    def pay() -> None:
        with shop.tx.message("order_paid", key=7, body=body) as m, Session(shop.engine) as s, m.begin(s):
            s.add(Paid(order_id=7))
            body["order_id"] = 7

    shop.tx.start()
    with pytest.raises(Misconfigured, match="sent before this change"):
        pay()
    eventually(lambda: shop.tx.status().is_quiet)
    assert (shop.paid(), shop.mails()) == ([], [])


def test_a_transaction_that_reads_first_goes_on(shop: Shop) -> None:
    """A session has begun by then; its transaction is the one that is committed."""
    shop.tx.start()
    with shop.tx.message("order_paid", key=7) as m, Session(shop.engine) as s:
        assert s.scalar(select(func.count()).select_from(Paid)) == 0
        with m.begin(s):
            s.add(Paid(order_id=7))
            m.body = {"order_id": 7}
    eventually(lambda: shop.mails() == [7])


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_ending_the_transaction_inside_is_refused(shop: Shop, ending: str) -> None:
    """A commit inside would be one without its message: it is refused before it happens."""
    with pytest.raises(Misconfigured, match="don't commit"):
        shop.pay(7, last=lambda session: getattr(session, ending)())
    assert shop.paid() == []


def test_savepoints_inside_are_yours(shop: Shop) -> None:
    """A savepoint that is rolled back takes only itself along."""
    shop.tx.start()
    with shop.tx.message("order_paid", key=7) as m, Session(shop.engine) as s, m.begin(s):
        s.add(Paid(order_id=7))
        with s.begin_nested():
            s.add(Paid(order_id=8))
        s.begin_nested().rollback()
        m.body = {"order_id": 7}
    assert shop.paid() == [7, 8]
    eventually(lambda: shop.mails() == [7])


def test_two_messages_leave_with_one_transaction(shop: Shop) -> None:
    """Both, or neither: the second takes part in what the first one commits."""
    told = list[str]()
    for topic in ("packed", "billed"):
        shop.tx.consumer(topic, group=topic)(lambda body, _session: told.append(body))
    shop.tx.start()

    def pay(order_id: int, fails: str = "") -> None:
        with shop.tx.message("packed", key=order_id) as a, Session(shop.engine) as s, a.begin(s):
            s.add(Paid(order_id=order_id))
            a.body = f"packed {order_id}"
            with shop.tx.message("billed", key=order_id) as b, b.begin(s):
                b.body = f"billed {order_id}"
                assert fails != "inside"
            assert fails != "after"

    pay(7)
    for fails in ("inside", "after"):
        with pytest.raises(AssertionError):
            pay(8, fails)
    eventually(lambda: len(told) == 2)
    eventually(lambda: shop.tx.status().is_quiet)
    assert (sorted(told), shop.paid()) == (["billed 7", "packed 7"], [7])


def test_a_message_that_failed_takes_the_transaction_along(shop: Shop) -> None:
    """What it raised may not be swallowed: the rows would stand without it."""

    def pay(session: Session) -> None:
        with suppress(ZeroDivisionError), shop.tx.message("billed", key=7) as m, m.begin(session):
            m.body = 1 / 0
        with shop.tx.message("billed", key=8) as m, m.begin(session):
            m.body = {}

    with pytest.raises(Misconfigured, match="must leave the whole block"):
        shop.pay(7, last=pay)
    assert shop.paid() == []
    assert shop.tx.status().stats.half == 0


@pytest.mark.parametrize(
    "point", ["packed.before_commit", "parcel.before_commit", "packed.committed", "parcel.handled"]
)
@pytest.mark.usefixtures("disarmed")
def test_a_consumer_tells_what_it_did(shop: Shop, point: str) -> None:
    """Its message leaves with its own transaction, wherever it dies: one for each that it was given."""
    told = list[int]()

    @shop.tx.consumer("order_paid", group="parcel", once_per="order_id")
    def pack(body: dict[str, int], session: Session) -> None:
        with shop.tx.message("packed", key=body["order_id"]) as m, m.begin(session):
            session.add(Mail(order_id=body["order_id"], text="packed"))
            m.body = body

    shop.tx.consumer("packed", group="stamps")(lambda body, _session: told.append(body["order_id"]))
    pay_and_die(shop, point, "parcel")
    assert (shop.mails(), told) == ([7, 7], [7])


def test_a_session_on_a_transaction_of_others_is_refused(shop: Shop) -> None:
    """Its commit would be none, and the message would go out whatever becomes of that transaction."""

    def bill(session: Session) -> None:
        with shop.tx.message("billed", key=7, body={}) as m, m.begin(session):
            pass

    def bill_in_a_savepoint(session: Session) -> None:
        with session.begin_nested():
            bill(session)

    with shop.engine.begin() as connection:
        with pytest.raises(Misconfigured, match="on a connection in a transaction"):
            bill(Session(connection))
        connection.rollback()
    with pytest.raises(Misconfigured, match="savepoint"):
        shop.pay(7, last=bill_in_a_savepoint)
    assert shop.paid() == []
    assert shop.tx.status().stats.half == 0


def test_a_block_without_a_transaction_is_an_error(shop: Shop) -> None:
    """Forgetting `begin` would lose every message in silence."""
    with pytest.raises(Misconfigured, match="Nothing was sent"), shop.tx.message("order_paid", key=7) as m:
        m.body = {"order_id": 7}


def test_a_message_has_a_body_that_is_json(shop: Shop) -> None:
    """None set, none that JSON could say, and one too large: refused, and the rows with it."""
    with pytest.raises(Misconfigured, match="not set"):
        shop.pay(7, body=lambda _, __: None)
    for body in ({1: {2}}, float("nan"), "x" * 2**20):
        with pytest.raises(MessageRefused):
            shop.pay(7, body=lambda m, _, body=body: setattr(m, "body", body))  # type: ignore[misc]
    nothing = shop.tx.message("order_paid", key=None)  # type: ignore[arg-type]
    with pytest.raises(MessageRefused, match="whole number"), nothing:
        pass
    for key in ("", "two words", "x" * 129, True):
        with pytest.raises(MessageRefused):
            shop.pay(7, key=key)
    assert shop.paid() == []


def test_a_second_message_of_the_same_thing_has_no_second_effect(shop: Shop) -> None:
    """`once_per` a field, whatever message brings it."""
    shop.tx.start()
    for _ in range(2):
        with shop.tx.message("order_paid", key=7) as m, Session(shop.engine) as s, m.begin(s):
            m.body = {"order_id": 7}
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.mails() == [7]


def test_what_a_consumer_could_not_do_it_does_later_and_once(shop: Shop) -> None:
    """What it raises rolls back, and the message comes again."""
    shop.fails = 3
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.mails() == [7])
    eventually(lambda: shop.tx.status().is_quiet)
    assert (shop.mails(), shop.fails) == ([7], 0)


@pytest.mark.parametrize("broker", ["embedded", "table://"])
def test_what_never_works_is_dead_until_it_is_resent(tmp_path: Path, broker: str) -> None:
    """After so many tries it lies still, is counted, and can be sent again."""
    options = Options(broker=FAST.broker.__class__(max_deliveries=3, retry_first_after=0.01), poll_every=0.02)
    shop = Shop.new(tmp_path, broker, options)
    shop.fails = 3
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.tx.status().stats.dead == 1)
    assert shop.tx.status().needs_attention
    console = shop.tx.console()
    (dead,) = console.find(state=State.DEAD)
    assert (dead.message.keys, dead.groups[0].attempts) == (("7",), 3)
    console.resend(dead.message_id)
    eventually(lambda: shop.mails() == [7])
    eventually(lambda: not shop.tx.status().needs_attention)
    shop.close()


def test_what_its_consumers_die_over_is_dead_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies says nothing of its message; the tries are counted all the same, and have an end."""
    fast = FAST.broker.__class__(max_deliveries=2, invisible_for=0.2, retry_first_after=0.01)
    shop = Shop.new(tmp_path, "table://", Options(broker=fast, poll_every=0.02))
    settle = rows.settle

    def die(*_: object) -> None:
        raise DatabaseUnavailable  # nothing is written of what became of it, as by a process that is gone

    monkeypatch.setattr(rows, "settle", die)
    with failpoints.recorded() as passed:
        shop.tx.start()
        shop.pay(7)
        eventually(lambda: shop.tx.status().stats.dead == 1)
    assert passed.count("mail.received") == 2
    (dead,) = shop.tx.console().find(state=State.DEAD)
    assert dead.groups[0].attempts == 2
    monkeypatch.setattr(rows, "settle", settle)
    shop.tx.console().resend(dead.message_id)
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.mails() == [7]
    shop.close()


@pytest.mark.parametrize("broker", ["embedded", "table://"])
def test_a_start_that_failed_is_begun_anew(tmp_path: Path, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left half started: the next try runs every consumer, each once."""
    shop = Shop.new(tmp_path, broker)
    consume = Running.consume
    refused: list[str] = []

    def fail_once(running: Running, subscription: Subscription, handler: Handler) -> None:
        if not refused and subscription.group == "stock":
            refused.append(subscription.group)
            raise DatabaseUnavailable
        consume(running, subscription, handler)

    heard: list[object] = []
    shop.tx.consumer("order_paid", group="stock")(lambda body, _session: heard.append(body))
    monkeypatch.setattr(Running, "consume", fail_once)
    with pytest.raises(DatabaseUnavailable):
        shop.tx.start()
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.tx.status().is_quiet)
    assert (shop.mails(), heard) == ([7], [{"order_id": 7}])
    shop.close()


@pytest.mark.parametrize("point", ["mail.received", "mail.before_commit", "mail.handled"])
@pytest.mark.usefixtures("disarmed")
def test_a_consumer_that_dies_does_it_once(shop: Shop, point: str) -> None:
    """Before its commit nothing happened, after it the inbox row knows; the message comes again in each case."""
    pay_and_die(shop, point, "mail")
    assert shop.mails() == [7]


@pytest.mark.parametrize(
    ("point", "stands"),
    [
        ("half_sent", False),
        ("before_commit", False),
        ("committed", True),
        ("before_resolve", True),
        ("resolved", True),
    ],
)
@pytest.mark.usefixtures("disarmed")
def test_a_sender_that_dies_is_checked_back(tmp_path: Path, point: str, stands: bool) -> None:
    """Whatever the point, the message is there if the rows are; another process of the service answers."""
    shop = Shop.new(tmp_path, "embedded")
    shop.tx.start()
    failpoints.arm(f"order_paid.{point}=crash", [f"order_paid.{point}"])
    with pytest.raises(failpoints.Crashed):
        shop.pay(7)
    failpoints.arm("", [])
    shop.close()
    other = Shop(str(shop.engine.url), f"embedded:///{tmp_path}/broker.db")
    other.tx.start()
    eventually(lambda: other.tx.status().is_quiet)
    assert (other.paid(), other.mails()) == (([7], [7]) if stands else ([], []))
    other.close()


def test_a_transaction_that_takes_too_long_is_fenced(tmp_path: Path) -> None:
    """The check-back gives it up; its commit fails cleanly, and nothing is told."""
    shop = Shop.new(tmp_path, "embedded")
    shop.tx.start()
    with pytest.raises(AlreadyAborted):
        _pay_slowly(shop)
    assert (shop.paid(), shop.mails()) == ([], [])
    shop.close()


def _pay_slowly(shop: Shop) -> None:
    with Session(shop.engine) as s, shop.tx.message("order_paid", key=7, body={"order_id": 7}) as m, m.begin(s):
        s.connection().exec_driver_sql("COMMIT")  # lets the check-back write meanwhile, as it can beside MySQL's
        eventually(lambda: shop.tx.status().stats.half == 0)
        s.connection().exec_driver_sql("BEGIN IMMEDIATE")
        s.add(Paid(order_id=7))


def test_a_broker_that_is_down_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half message could not be stored: the transaction is rolled back, and the caller told."""
    shop = Shop.new(tmp_path, "embedded")
    shop.tx.start()

    def down(*_: object, **__: object) -> None:
        raise BrokerError

    monkeypatch.setattr("halfmessage.mq.embedded.producer.EmbeddedProducer.begin", down)
    with pytest.raises(BrokerError):
        shop.pay(7)
    assert shop.paid() == []
    shop.close()


def test_each_group_is_given_every_message(shop: Shop) -> None:
    """Also a group that comes later: what is kept is given to it, once."""
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.mails() == [7])
    shop.tx.close()
    late = TransactionalMessages("shop", shop.engine, broker=shop.tx._url, options=FAST)

    @late.consumer("order_paid", group="audit")
    def _audit(body: dict[str, int], session: Session) -> None:
        session.add(Mail(order_id=-body["order_id"], text="seen"))

    late.start()
    eventually(lambda: shop.mails() == [-7, 7])
    late.close()


def test_the_inbox_is_purged_by_age(tmp_path: Path) -> None:
    """Its rows are kept for the stated window, and no longer."""
    options = Options(inbox_retention=0.0, record_retention=3600, broker=FAST.broker)
    shop = Shop.new(tmp_path, "embedded", options)
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.tx.status().is_quiet)
    with shop.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(INBOX)) == 1
    eventually(lambda: shop.tx.sweep() == 1)
    with shop.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(INBOX)) == 0
        assert connection.scalar(text("SELECT count(*) FROM halfmessage_records")) == 1
    shop.close()


def test_an_outbox_forgets_what_every_group_has_had(tmp_path: Path) -> None:
    """Messages that are done go with the retention; one that is still due stays."""
    options = Options(broker=FAST.broker.__class__(retention=0.0, retry_first_after=60), poll_every=0.02)
    shop = Shop.new(tmp_path, "table://", options)
    shop.tx.start()
    shop.pay(7)
    eventually(lambda: shop.tx.status().is_quiet)
    shop.fails = 1
    shop.pay(8)
    eventually(lambda: shop.fails == 0)
    eventually(lambda: shop.tx.sweep() == 1)
    assert [view.message.keys for view in shop.tx.console().find()] == [("8",)]
    shop.close()


def test_names_are_checked_and_a_group_has_one_consumer(shop: Shop) -> None:
    """What RocketMQ might refuse is refused here; two consumers of one group would take turns."""
    with pytest.raises(Misconfigured):
        shop.tx.consumer("order paid", group="x")(lambda _body, _session: None)
    with pytest.raises(Misconfigured):
        shop.tx.consumer("order_paid", group="mail")(lambda _body, _session: None)
    shop.tx.start()
    with pytest.raises(Misconfigured):
        shop.tx.consumer("order_paid", group="other")(lambda _body, _session: None)


def test_a_database_in_memory_is_refused() -> None:
    """It would be gone with the crash that all this is about."""
    with pytest.raises(Misconfigured):
        TransactionalMessages("shop", create_engine("sqlite://"), broker="table://")


def test_two_processes_that_catch_up_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both begin with a new group, and one of them writes first: the other looks again instead of ending."""
    shop = Shop.new(tmp_path, "table://")
    shop.pay(7)
    catch_up = rows.catch_up
    beaten: list[str] = []

    def other_is_first(connection: Connection, group: str, topic: str, since: int) -> int:
        if not beaten:
            beaten.append(group)
            raise DuplicateRow
        return catch_up(connection, group, topic, since)

    monkeypatch.setattr(rows, "catch_up", other_is_first)
    shop.tx.start()
    eventually(lambda: shop.mails() == [7])
    assert beaten == ["mail"]
    shop.close()


def test_a_console_of_rocketmq_knows_what_is_consumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was declared before the first message, and after it: else nothing of theirs would be seen dead."""
    told: list[Sequence[tuple[str, str]]] = []
    opened = running.open_broker

    def spy(url: str, options: BrokerOptions, *, subscriptions: Sequence[tuple[str, str]] = ()) -> Broker:
        told.append(subscriptions)
        return opened(url, options)

    monkeypatch.setattr(running, "open_broker", spy)
    shop = Shop.new(tmp_path, "embedded")
    shop.pay(7)
    shop.tx.consumer("order_paid", group="stock")(lambda _body, _session: None)
    shop.tx.start()
    (subscriptions,) = told
    assert list(subscriptions) == [("order_paid", "mail"), ("order_paid", "stock")]
    shop.close()
