"""Participants as they are wired by their own `build`, but for the web: their use cases and their routes.

What is pay's own beside that is in `lab.simulate.paying`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from common.db import Database
from common.heartbeat import Heartbeat
from common.registry import ROLLBACK_TOPIC
from common.reservations.routes import install_reservations
from common.reservations.schema import DecisionOut, ReservationOut, WantIn
from common.standby import Standby
from coupon import api as coupon_rest
from coupon.schema import OrderIn as CouponOrderIn
from coupon.schema import UseDecision, UseReservation
from coupon.service.rules import Coupons
from coupon.service.uses import coupon_reservations
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.participant.consumer import RollbackConsumer
from halfmessage.participant.reservations import Reservations
from lab.simulate.scheduler import Process, the
from lab.simulate.transport import Routes
from lab.simulate.world import World
from pay import api as pay_rest
from pay.schema import OrderIn as PayOrderIn
from pay.schema import PaymentDecision, PaymentReservation
from pay.service.inbox import EventKey
from stock.schema import OrderIn as StockOrderIn
from stock.schema import PiecesDecision, PiecesReservation
from stock.service.pieces import stock_reservations

if TYPE_CHECKING:
    from common.web import Api
    from halfmessage.ids import IdSource

_SCHEMAS: Final[Mapping[str, tuple[type[WantIn], type[DecisionOut], type[ReservationOut]]]] = {
    "stock": (StockOrderIn, PiecesDecision, PiecesReservation),
    "coupon": (CouponOrderIn, UseDecision, UseReservation),
    "pay": (PayOrderIn, PaymentDecision, PaymentReservation),
}
_OF_PAY: Final = ("providers", "reader", "attempts", "last_question", "sending_back", "inbox")
"""What the routes of pay call, as `pay.api.UseCases` names it."""


class OfThisProcess:
    """Stands for a use case of whichever process is running, so that routes are declared once and not at each start."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(the().living().process.use_cases[self._name], name)


def _pay_use_cases() -> pay_rest.UseCases:
    named = {name: cast("Any", OfThisProcess(name)) for name in _OF_PAY}

    def soon(key: EventKey) -> None:
        the().living().process.use_cases["soon"].handle(key)

    return pay_rest.UseCases(**named, soon=soon)


@lru_cache(maxsize=len(_SCHEMAS))
def _routes(service: str) -> Routes:
    """Declare the routes of a participant."""
    served = Routes()
    api = cast("Api", served)  # of which routes use nothing but how they are declared
    if service == "coupon":
        coupon_rest.install(api, cast("Coupons", OfThisProcess("coupons")))
    if service == "pay":
        pay_rest.install(api, _pay_use_cases())
    want, decision, reservation = _SCHEMAS[service]
    reservations = cast("Reservations[Any]", OfThisProcess("reservations"))
    install_reservations(api, reservations, want=want, decision=decision, reservation=reservation)
    return served


def start_stock(world: World, process: Process) -> None:
    """Start the stock service. Raise `HalfMessageError`."""
    database = world.database("stock")
    start_participant(world, process, world.broker(), database, stock_reservations(database))


def start_coupon(world: World, process: Process) -> None:
    """Start the coupon service; it makes no coupons, so it needs no ids. Raise `HalfMessageError`."""
    database = world.database("coupon")
    process.use_cases["coupons"] = Coupons(database, cast("IdSource", None))
    start_participant(world, process, world.broker(), database, coupon_reservations(database))


def start_participant(
    world: World, process: Process, broker: EmbeddedBroker, database: Database, reservations: Reservations[Any]
) -> None:
    """Start what all participants have. Raise `HalfMessageError`."""
    standby = Standby(Heartbeat(database).beat)
    consumer = RollbackConsumer(reservations, failed=standby.suspect)
    process.use_cases["reservations"] = reservations
    consumer.subscribe(broker, ROLLBACK_TOPIC, standby.ready)
    world.network.listen(process, _routes(process.name).serve)
