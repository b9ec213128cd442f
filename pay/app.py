"""Wires the pay service together; nothing else does."""

from collections.abc import Callable, Sequence
from functools import partial

from common import records as records_over_rest
from common import tracing
from common.aside import ThreadedAside
from common.config import Settings
from common.db import Database
from common.periodic import Periodic
from common.process import Service
from common.registry import PAYMENT_TOPIC, SUBSCRIPTIONS
from common.reservations.service import participant_service
from common.telemetry import Metrics
from common.web import Api
from halfmessage.chunks import ROWS, VALUES
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker
from halfmessage.tx.batch import Batcher
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from pay import api as rest
from pay import providers
from pay.instruments import Instruments
from pay.model import idempotency_keys, transaction_records
from pay.schema import OrderIn, PaymentDecision, PaymentReservation
from pay.service.asking import LastQuestion
from pay.service.attempts import Attempts
from pay.service.claims import while_any
from pay.service.crew import Crew
from pay.service.events import Handling
from pay.service.inbox import EventKey, Inbox, forget_strangers
from pay.service.payments import payment_reservations
from pay.service.polling import Pace, Polling
from pay.service.posting import Times
from pay.service.reading import PaymentReader
from pay.service.refunding import Refunding, SendingBack
from pay.service.soon import Soon
from pay.service.telling import Telling

_LOOK_EVERY = 0.5  # seconds between two looks for what is due, each by an index
_CALLS = 8  # of providers at once by each kind of work; the last question has as many again
_LONGEST_WAIT = 5.0  # seconds until a batch of events begins


def build(settings: Settings) -> Service:
    """Return the service, not started yet. Raise `OrdersError` where something it needs can't be had."""
    found = providers.load(settings)
    database = Database(settings.database_url, pool_size=settings.pool_size)
    ids = LeasedIds(database, "pay")
    broker = tracing.broker(open_broker(settings.broker_url, settings.broker_options, subscriptions=SUBSCRIPTIONS))
    metrics = Metrics("pay")
    told = Instruments(metrics, database)

    records = Records(transaction_records, retention=settings.record_retention)
    checker = Checker(database, records, deadline=settings.transaction_deadline, count=told.check_back)
    producer = broker.producer("pay", checker, topics=[PAYMENT_TOPIC])
    coordinator = Coordinator(producer, tracing.transactor(database), records, ids, told.step)
    reservations = payment_reservations(database, settings.poll_until)
    inbox = Inbox(database)
    handling = Handling(database, coordinator, _times(settings), told.money)
    soon_aside = ThreadedAside("handling", 1)
    asking, polls, refunds = (Crew(name, _CALLS) for name in ("asking", "polling", "refunding"))
    attempts = Attempts(
        database, reservations, found, inbox, _in_batches(handling, settings), ids, settings.poll_first_after
    )
    pace = Pace(settings.poll_first_after, settings.poll_longest, settings.poll_until, settings.polls_per_second)
    polling = Polling(database, found, inbox, attempts.carry_out, handling.handle, polls, pace, told.poll)
    refunding = Refunding(
        database, found, refunds, first=settings.refund_first_after, longest=settings.refund_longest, tell=told.money
    )
    telling = Telling(database, producer, ids, settings.sweep_grace)
    last_question = LastQuestion(database, found, inbox, handling.handle, asking, settings.last_question)

    use_cases = rest.UseCases(
        providers=found,
        reader=PaymentReader(database),
        attempts=attempts,
        last_question=last_question,
        sending_back=SendingBack(database),
        inbox=inbox,
        soon=Soon(handling.handle, soon_aside).handle,
    )

    def routes(api: Api) -> None:
        rest.install(api, use_cases, told.callback)
        records_over_rest.install(api, database, records, checker.outcome)

    def forget() -> None:
        purge_records(database, records)
        forget_strangers(database, settings.idempotency_retention)

    workers = [
        Periodic("events", _LOOK_EVERY, partial(while_any, handling.handle_due)),
        Periodic("polling", _LOOK_EVERY, polling.run),
        Periodic("refunding", _LOOK_EVERY, partial(while_any, refunding.run)),
        Periodic("telling", _LOOK_EVERY, partial(while_any, telling.run)),
        Periodic("purging", settings.sweep_interval, forget),
    ]
    return participant_service(
        settings,
        database,
        reservations,
        title="Payments",
        description="What orders owe, what providers said, and what became of the money.",
        want=OrderIn,
        decision=PaymentDecision,
        reservation=PaymentReservation,
        routes=routes,
        keys=idempotency_keys,
        broker=broker,
        metrics=metrics,
        ids=ids,
        checks={"broker": partial(broker.ping, PAYMENT_TOPIC)},
        start=[worker.start for worker in workers],
        stop=[
            *(worker.close for worker in workers),
            *(crew.close for crew in (asking, polls, refunds)),
            *(soon_aside.close, broker.close),
        ],
    )


def _times(settings: Settings) -> Times:
    return Times(
        tell_after=int(settings.sweep_grace * 1000),
        refused_again_after=int(settings.refund_longest * 1000),
        poll_until=int(settings.poll_until * 1000),
    )


def _in_batches(handling: Handling, settings: Settings) -> Callable[[EventKey], None]:
    def handle(keys: Sequence[EventKey]) -> list[None]:
        handling.handle(keys)
        return [None] * len(keys)

    batcher: Batcher[EventKey, None] = Batcher(
        handle, lanes=1, heaviest=ROWS, longest_queue=settings.threads, longest_wait=_LONGEST_WAIT
    )
    return batcher.submit


def purge_records(database: Database, records: Records) -> None:
    """Delete the transaction records that can't be asked for any more, so many at a time."""
    while database.transact(lambda connection: records.purge(connection, VALUES)):
        pass
