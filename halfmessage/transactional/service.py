"""`TransactionalMessages`: what a service makes once, and sends and consumes with."""

import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from halfmessage.db import EngineTransactor, prepare
from halfmessage.errors import Misconfigured
from halfmessage.saga.barrier import Barrier
from halfmessage.saga.definition import Saga
from halfmessage.saga.engine import Engine as SagaEngine
from halfmessage.saga.operating import Sagas
from halfmessage.transactional.incoming import Handler, Inbox, Subscription
from halfmessage.transactional.options import Options, checked_key, checked_name
from halfmessage.transactional.outgoing import Draft, OutgoingMessage
from halfmessage.transactional.running import Console, Running, Status

if TYPE_CHECKING:
    from halfmessage.transactional.asynchronous import AsyncOutgoingMessage

H = TypeVar("H", bound=Handler)
D = TypeVar("D", bound=Draft)


class TransactionalMessages:
    """Sends messages with the transactions of one database, and consumes them. Thread-safe.

    ::

        tx = TransactionalMessages("shop", engine, broker="embedded:///broker.db")

        @tx.consumer("order_paid", group="mail", once_per="order_id")
        def send(body, session): ...

        with tx.message("order_paid", key=7) as m:
            with Session(engine) as session, m.begin(session):
                session.add(...)
                m.body = {"order_id": 7}

    A process that consumes calls `start`. One that only sends need not: its first message does what is necessary.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        *,
        broker: str,
        sends: Iterable[str] = (),
        options: Options | None = None,
        sessions: Callable[[], Session] | None = None,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Take the service's name, its engine and the URL of its broker. Nothing is opened before it is needed.

        `name`: which processes answer each other's check-backs, so no two services with databases of their own may
        have the same. `broker`: a URL of `halfmessage.mq.factory`, or `table://`. `sends`: the topics of its messages;
        on RocketMQ 5 a process is asked only about topics that it knows. `sessions` makes consumers' sessions, on this
        engine; `around` wraps each of their runs. The engine is prepared (`halfmessage.db.prepare`).
        Raise `Misconfigured`.
        """
        self.name = checked_name("service's name", name)
        self.options = options or Options()
        self.engine = engine
        self._database = EngineTransactor(_prepared(engine))
        self._url = broker
        self._sends = tuple(checked_name("topic", topic) for topic in sends)
        self._sessions = sessions or (lambda: Session(engine))
        self._around = around
        self._subscriptions: list[Subscription] = []
        self._sagas: list[Saga] = []
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._consuming = False

    @contextmanager
    def message(self, topic: str, *, key: str | int, body: Any = OutgoingMessage.UNSET) -> Iterator[OutgoingMessage]:
        """Open a message whose `begin` wraps the local transaction. `key` finds it again; `body` may be set inside.

        Raise `Misconfigured` at the end of a block that began no transaction: nothing was sent. For what else is
        raised see `OutgoingMessage.begin`.
        """
        message = self._draft(OutgoingMessage, topic, key, body)
        yield message
        _hold_begun(message, topic)

    @asynccontextmanager
    async def async_message(
        self, topic: str, *, key: str | int, body: Any = OutgoingMessage.UNSET
    ) -> AsyncIterator["AsyncOutgoingMessage"]:
        """Open a message whose `begin` wraps the local transaction of an `AsyncSession`; see `message`.

        The event loop waits for nothing: brokers are called on threads. Its engine is one of the same database, as
        `AsyncEngine` is beside the one that this was made with, and was prepared (`halfmessage.db.prepare`).
        """
        from asyncio import to_thread  # noqa: PLC0415 - not loaded where there is no event loop

        try:
            from halfmessage.transactional.asynchronous import AsyncOutgoingMessage  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise Misconfigured(f"pip install 'halfmessage[asyncio]': {error}") from error
        message = await to_thread(self._draft, AsyncOutgoingMessage, topic, key, body)
        yield message
        _hold_begun(message, topic)

    def _draft(self, kind: type[D], topic: str, key: str | int, body: Any) -> D:
        checked_name("topic", topic)
        running = self._open()
        return kind(topic, checked_key(key), body, way=running.way, next_id=running.ids.next)

    def consumer(self, topic: str, *, group: str, once_per: str | None = None) -> Callable[[H], H]:
        """Have the decorated function called with each message's body, and a session in a transaction.

        Its effect in this database happens once for each message, or for each value of the body's field `once_per`.
        What it raises rolls back, and the message comes again, later each time; after `BrokerOptions.max_deliveries`
        it is dead until it is resent. Groups get every message, each of one group one of them. Raise `Misconfigured`.
        """

        def declare(handler: H) -> H:
            self.subscribe(Subscription(topic, group, once_per, handler))
            return handler

        return declare

    def subscribe(self, subscription: Subscription) -> None:
        """Add what `consumer` declares.

        Raise `Misconfigured` once it consumes, for a group that is taken, and for a coroutine function: no event loop
        runs on the threads that consume, so its message would be acknowledged and nothing done.
        """
        checked_name("topic", subscription.topic)
        checked_name("group", subscription.group)
        if inspect.iscoroutinefunction(subscription.handler):
            raise Misconfigured(
                f"The consumer of {subscription.group!r} is `async def`: it is run on a thread, use `def`."
            )
        with self._lock:
            if self._consuming:
                raise Misconfigured("Declare consumers before `start`.")
            if any(each.group == subscription.group for each in self._subscriptions):
                raise Misconfigured(f"The group {subscription.group!r} has a consumer already.")
            self._subscriptions.append(subscription)

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """What was declared."""
        return tuple(self._subscriptions)

    def saga(self, saga: Saga) -> Saga:
        """Have the processes that consume drive a saga's runs; return it. Its log is in this database.

        Of several with one name the first is that of new runs, the others are for runs that were started earlier. Steps
        run within `around`. Raise `Misconfigured` for the same definition twice, or where something is open already.
        """
        with self._lock:
            if self._running is not None:
                raise Misconfigured("Declare sagas before `start`, and before the first message.")
            if any(each.definition == saga.definition for each in self._sagas):
                raise Misconfigured(f"The saga {saga.name!r} was declared already; of another one, raise `version`.")
            self._sagas.append(saga)
        return saga

    def wrap(self, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        """Have what was declared so far wrapped, for what watches a service, as `halfmessage drill` does.

        `wrap` is given a name and a function: a consumer, by its group, or one of a saga's, by saga/step/direction.
        Raise `Misconfigured` where something is open already.
        """
        with self._lock:
            if self._running is not None:
                raise Misconfigured("Wrap before `start`, and before the first message.")
            self._subscriptions = [
                replace(each, handler=wrap(each.group, each.handler)) for each in self._subscriptions
            ]
            self._sagas = [saga.wrapped(wrap) for saga in self._sagas]

    def begin_saga(self, session: Session, saga: str, *, key: str | int, value: Any = None) -> int:
        """Start a run in your session's transaction: it runs if, and only if, that is committed. Return its id.

        `key`: a saga has one run of each; `value`: JSON, which each step is given as `Call.input`. What the session has
        to write is written first. On SQLite, which has one writer, the first one of a process comes before the session
        has written anything, or after a look at `saga_engine`. Raise `Conflict` where there is a run of this key,
        `StateTooLarge`, `Misconfigured`; or what the database raises.
        """
        engine = self.saga_engine  # before the session writes: what is opened now writes a lease of its own
        if not session.in_transaction():
            session.connection(execution_options={"writes": True})
        session.flush()
        return engine.begin(session.connection(), saga, str(key), value)

    @property
    def saga_engine(self) -> SagaEngine:
        """What `begin_saga` stands on: `start` and `run` a saga without a transaction of yours, `drive` a run."""
        return self._open().sagas.engine

    @property
    def sagas(self) -> Sagas:
        """What an operator does with runs: `list`, `show`, `of_key`, `retry`, `give_up`, `skip`."""
        return self._open().sagas.runs

    @property
    def barrier(self) -> Barrier:
        """What makes calls of somebody's saga happen once here: `barrier.do(request.headers["Idempotency-Key"], …)`."""
        return self._open().sagas.barrier

    def start(self) -> None:
        """Answer check-backs, consume, drive sagas and purge on threads of this process, until `close`; after any fork.

        Raise `BrokerError`, `DatabaseUnavailable`, `Misconfigured`.
        """
        running = self._open()
        with self._lock:
            if self._consuming:
                return
            self._consuming = True
        try:
            for each in self._subscriptions:
                running.consume(each, Inbox(each, self._sessions, self._around))
            running.keep_house()
        except BaseException:
            self.close()  # so that the next try begins anew, instead of going on with those that run
            raise

    def console(self) -> Console:
        """Return what looks at messages. Raise `ConsoleUnavailable` where the broker has none."""
        return self._open().console()

    def status(self) -> Status:
        """Return what an operator watches. Raise `BrokerError`, `DatabaseUnavailable`."""
        return self._open().status()

    def sweep(self) -> int:
        """Delete now what is older than it has to be kept; return how many rows. Raise `DatabaseUnavailable`."""
        return self._open().sweep()

    def close(self) -> None:
        """Let handlers in flight end, give everything back; once more does nothing."""
        with self._lock:
            running, self._running, self._consuming = self._running, None, False
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Running:
        with self._lock:
            if self._running is None:
                self._running = Running(
                    self.name,
                    self._database,
                    self._url,
                    self._sends,
                    self._subscriptions,
                    self._sagas,
                    self.options,
                    self._around,
                )
            elif self._running.pid != os.getpid():
                raise Misconfigured("This process was forked after it was started: start it in each process.")
            return self._running


def _hold_begun(message: Draft, topic: str) -> None:
    if not message.is_begun:
        raise Misconfigured(f"Nothing was sent to {topic!r}: the local transaction goes into `m.begin(session)`.")


def _prepared(engine: Engine) -> Engine:
    """Prepare an engine, once. Raise `Misconfigured` for SQLite in memory: no other thread sees its tables."""
    if engine.dialect.name == "sqlite" and engine.url.database in {None, "", ":memory:"}:
        raise Misconfigured("A database in memory is gone after a crash; name a file.")
    if prepare(engine):
        engine.dispose()  # connections that were made before are not prepared
    return engine
