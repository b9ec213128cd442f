"""The order service as it is wired by its own `build`, but for the web and order requests."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from common.aside import ThreadedAside
from common.heartbeat import Heartbeat
from common.idempotency import IdempotencyKey
from common.payments import PaymentEvent
from common.peer import Peer
from common.periodic import Periodic
from common.registry import BY_NAME, PAYMENT_TOPIC, ROLLBACK_TOPIC, TIMEOUT_TOPIC, WORKERS
from common.standby import Standby
from common.web.problems import kind_of
from halfmessage.errors import HalfMessageError
from halfmessage.ids import LeasedIds
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.batch import Batcher
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from lab.simulate.returning import start_returns
from lab.simulate.scheduler import Process
from lab.simulate.transport import Answer
from lab.simulate.world import World
from order.clients.coupon import CouponClient
from order.clients.goods import GoodsClient
from order.clients.lookups import LookUps
from order.clients.pay import PayClient
from order.clients.stock import StockClient
from order.consumer import EventConsumer
from order.model import Order, transaction_records
from order.service.auditing import Audit
from order.service.closing import Closing
from order.service.ordering import Ordering, Request
from order.service.overdue import Overdue
from order.service.paying import Elsewhere, Paying
from order.service.placing import Draft, Placing
from order.service.pricing import Pricing
from order.service.reading import OrderReader
from order.service.returning import Returning
from order.service.settling import Settlements
from order.service.successes import Successes
from order.service.sweeping import Sweep, sweep_once
from order.service.telling import Telling
from order.service.timeouts import Timeouts

PROVIDER: Final = "sandbox"
"""Whose interface the simulated provider has."""
DEADLINE: Final = 5.0
"""Seconds that a local transaction may take."""
GRACE: Final = 7.0  # seconds
LAST_QUESTION: Final = 1.5
"""Seconds that providers may be asked before an order is closed."""
_PEER_TIMEOUT: Final = 2.0
_CACHE: Final = 0.5
_LANES, _BATCH, _QUEUE, _LONGEST_WAIT = 1, 512, 384, 5.0
_MESSAGES: Final = 256


def start_order(world: World, process: Process) -> None:
    """Start the order service. Raise `HalfMessageError`."""
    database = world.database("order")
    looking_ahead = ThreadedAside("looking ahead", 2)
    peers = {
        name: Peer(name, f"http://{name}", lambda: "", timeout=_PEER_TIMEOUT, connections=1)
        for name in ("goods", *world.plan.services)
        if name != "order"
    }

    def look_up_at(kind: type[LookUps[Any]], peer: Peer) -> Any:
        return kind(peer, max_age=_CACHE, timeout=_PEER_TIMEOUT, aside=looking_ahead)

    coupons = CouponClient.connect(peers["coupon"], "coupon", look_up_at)
    payments = PayClient(peers["pay"], "pay") if world.plan.pays else None
    participants = [StockClient(peers["stock"], "stock"), coupons, *([] if payments is None else [payments])]
    records = Records(transaction_records, retention=world.plan.retention)
    checker = Checker(database, records, deadline=DEADLINE)
    ids = LeasedIds(database, "order", lease_seconds=world.plan.lease, workers=WORKERS["order"])
    noted = _Noted(ids, world, process)
    broker = world.broker()
    producer = broker.producer("order", checker)
    coordinator = Coordinator(producer, database, records, noted)

    aside = ThreadedAside("placing", 2 * (1 + len(participants)) * _LANES)
    settlements = Settlements(database, participants)
    telling = Telling(settlements, ThreadedAside("telling", 1))
    placing = Placing(coordinator, producer, participants, settlements, aside, telling.soon)
    reader = OrderReader(database)
    closing = Closing(database, coordinator, reader, settlements)
    audits = [Audit(database, participant, closing) for participant in participants]

    def is_held(order: Order) -> bool:
        return all(audit.is_held(order) for audit in audits)

    paying = Paying(database, reader, payments, is_held, settlements, telling.soon)
    overdue = Overdue(closing, paying, payments, last_question=LAST_QUESTION)
    sweep = Sweep(database, records, checker, overdue, settlements, audits)
    batcher: Batcher[Draft, Order] = Batcher(
        placing.place,
        lanes=_LANES,
        heaviest=_BATCH,
        longest_queue=_QUEUE,
        longest_wait=_LONGEST_WAIT,
        weigh=lambda draft: draft.weight,
    )
    pricing = Pricing(GoodsClient(peers["goods"], max_age=3600.0, timeout=_PEER_TIMEOUT), coupons.rules)
    ordering = Ordering(reader, pricing, noted, batcher.submit, pay_timeout=world.plan.pay_timeout)
    standby = Standby(Heartbeat(database).beat, ids.ask, partial(broker.ping, ROLLBACK_TOPIC))
    consumers: dict[str, EventConsumer[Any]] = {
        TIMEOUT_TOPIC: EventConsumer(
            "timeout", OrderEvent, Timeouts(database, checker, overdue).handle, failed=standby.suspect
        ),
        PAYMENT_TOPIC: EventConsumer(
            "payment", PaymentEvent, Successes(database, checker, paying).handle, failed=standby.suspect
        ),
    }
    ids.start()
    for topic, consumer in consumers.items():
        broker.consumer(BY_NAME["order"].group(topic), topic, consumer, batch=_MESSAGES, ready=standby.ready)
    if world.plan.sweeps:
        Periodic("sweep", world.plan.sweep_every, lambda: sweep_once(sweep, GRACE)).start()
    returning = None
    if world.plan.returns:
        returning = start_returns(database, noted, reader, participants, payments, settlements)
    world.network.listen(process, partial(_serve, _UseCases(ordering, closing, paying, returning)))


class _UseCases(NamedTuple):
    """What clients ask for; nothing is returned where no client of the run wants that."""

    ordering: Ordering
    closing: Closing
    paying: Paying
    returning: Returning | None


class _Noted:
    """Issues the ids of a source, and has the world know whose they are."""

    def __init__(self, ids: LeasedIds, world: World, process: Process) -> None:
        self._ids = ids
        self._issued = world.issued
        self._name = f"{process.name}/{process.life}"

    def next(self) -> int:
        """See `halfmessage.ids.IdSource`."""
        issued = self._ids.next()
        self._issued.append((issued, self._name))
        return issued


def _serve(
    use_cases: _UseCases,
    _method: str,
    path: str,
    payload: bytes | None,
    _headers: Mapping[str, str],
) -> Answer:
    """Answer a client: `POST /orders`, `POST /cancel`, `/pay` or `/return` of an order, and how far that is."""
    body = orjson.loads(payload or b"{}")
    try:
        if path == "/orders":
            order = _place(use_cases.ordering, body)
        elif path == "/cancel":
            order = use_cases.closing.cancel(body["order_id"], owner=body["user"])
        elif path.startswith("/return"):
            return 202 if path == "/return" else 200, orjson.dumps(_return(use_cases.returning, path, body))
        else:
            paid = use_cases.paying.pay(body["order_id"], PROVIDER, body["scenario"], owner=body["user"])
            if isinstance(paid, Elsewhere):
                return 202, orjson.dumps({"order_id": paid.order_id, "status": "elsewhere"})
            order = paid
    except HalfMessageError as error:
        kind = kind_of(type(error))
        return kind.status, orjson.dumps({"kind": kind.slug, "detail": error.detail})
    told = {"order_id": order.order_id, "tx_id": order.tx_id, "status": order.status}
    return (201 if path == "/orders" else 200), orjson.dumps(told)


def _return(returning: Returning | None, path: str, body: dict[str, Any]) -> dict[str, Any]:
    assert returning is not None  # noqa: S101 - its client is in the plan # nosec B101
    order_id, owner = body["order_id"], body["user"]
    is_shown = path == "/return/shown"
    run = returning.of(order_id, owner=owner) if is_shown else returning.give_back(order_id, "too big", owner=owner)
    return {"order_id": order_id, "run_id": run.run_id, "status": run.state}


def _place(ordering: Ordering, body: dict[str, Any]) -> Order:
    key, quantities = body["key"], {body["goods_id"]: body["quantity"]}
    request = Request(
        body["user"],
        quantities,
        None,
        IdempotencyKey(body["user"], key, f"{quantities} {body['coupon_id']}") if key else None,
        body["coupon_id"],
        asked_as=body["asked_as"],
    )
    return ordering.order(request).order
