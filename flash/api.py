"""The flash service over REST."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import Invalid, TooManyRequests
from common.idempotency import key_of
from common.web import Api, ProblemWith, Reply, created, current_identity
from common.web.gate import Gate
from common.web.problems import kind_of
from flash.clients.goods import UnknownGoods
from flash.model import (
    AlreadyBought,
    Ended,
    InsufficientStock,
    NoQueue,
    NotStarted,
    NotYourTurn,
    QueueFull,
    Sale,
    SoldOut,
    TicketRefused,
)
from flash.schema import (
    Buy,
    LocationMembers,
    NewSaleIn,
    PurchaseOut,
    RequestOut,
    SaleOut,
    SalesPage,
    SalesQuery,
    SurveyOut,
    TicketOut,
    request_document,
)
from flash.service.buying import location_of
from flash.service.purchasing import Purchasing
from flash.service.queueing import Queueing
from flash.service.reading import SaleReader
from flash.service.selling import Selling
from flash.service.showing import Showing
from flash.service.surveying import Surveying
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, NotFound, OutcomeUnknown
from halfmessage.ids import issued_at


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the routes call."""

    reader: SaleReader
    selling: Selling
    purchasing: Purchasing
    showing: Showing
    surveying: Surveying
    queue: Queueing


def install(
    api: Api,
    use_cases: UseCases,
    *,
    most_at_once: int,
    most_of_one_user: int,
    count: Callable[[str], None] = lambda _: None,
) -> None:
    """Declare the routes beside those of every participant; `count` is told the outcome of each try to buy.

    Buying and queueing together are limited to `most_at_once` of all users, of which `most_of_one_user`; see
    `admitting` beside that.
    """
    buyers = Gate(most_at_once, share=most_of_one_user)
    _install_selling(api, use_cases)
    _install_reading(api, use_cases)

    @api.post(
        "/flash-sales/{sale_id}/orders",
        scopes=("orders",),
        body=Buy,
        body_optional=True,
        returns={202: RequestOut},
        errors=[
            NotFound,
            NotStarted,
            Ended,
            SoldOut,
            ProblemWith(AlreadyBought, LocationMembers),
            Invalid,
            TicketRefused,
            NotYourTurn,
            TooManyRequests,
            OutcomeUnknown,
        ],
        gate=buyers,
    )
    def buy(sale_id: int, body: Buy) -> Reply:
        """Buy in a sale: once it is taken in, it becomes an order soon, or is refused with the reason."""
        try:
            purchase_id = use_cases.purchasing.buy(sale_id, current_identity().user_id, body.quantity, body.ticket)
        except HalfMessageError as error:
            count(kind_of(type(error)).slug)
            raise
        count("taken")
        document = request_document(purchase_id, issued_at(purchase_id))
        return Reply(document, 202, {"Location": location_of(purchase_id)})

    @api.post(
        "/flash-sales/{sale_id}/tickets",
        scopes=("orders",),
        returns={200: TicketOut},
        errors=[NotFound, Ended, NoQueue, QueueFull, TooManyRequests],
        gate=buyers,
    )
    def join(sale_id: int) -> Reply:
        """Join the queue of a sale, where it has one: a ticket to buy with, of the same place each time."""
        return Reply(TicketOut.of(*use_cases.purchasing.join(sale_id, current_identity().user_id)))

    @api.get("/internal/purchases/{purchase_id}", scopes=("service",), returns={200: PurchaseOut}, errors=[NotFound])
    def show_purchase(purchase_id: int) -> Reply:
        """Show a purchase: one that is a row, or of a sale that is not done, for the order service."""
        return _purchase(use_cases, purchase_id)

    @api.get("/admin/purchases/{purchase_id}", scopes=("admin",), returns={200: PurchaseOut}, errors=[NotFound])
    def find_purchase(purchase_id: int) -> Reply:
        """Show the same to those who look for it."""
        return _purchase(use_cases, purchase_id)


def _purchase(use_cases: UseCases, purchase_id: int) -> Reply:
    sale_id, found = use_cases.purchasing.find(purchase_id)
    return Reply(
        PurchaseOut(purchase_id=found.purchase_id, sale_id=sale_id, user_id=found.user_id, quantity=found.quantity)
    )


def _install_selling(api: Api, use_cases: UseCases) -> None:
    @api.post(
        "/flash-sales",
        scopes=("admin",),
        body=NewSaleIn,
        returns={201: SaleOut},
        errors=[InsufficientStock, UnknownGoods, OutcomeUnknown],
        idempotent=True,
    )
    def open_sale(body: NewSaleIn, idempotency_key: str | None) -> Reply:
        """Open a sale: its pieces leave what other orders can have."""
        key = key_of(current_identity().user_id, idempotency_key, "POST /flash-sales", body)
        if body.ends_at <= now_ms() and not use_cases.selling.is_known(key):
            raise Invalid(errors=[{"pointer": "/ends_at", "message": "Input should be later than now"}])
        opened = use_cases.selling.open(body.parsed(), key)
        (shown,) = _shown(use_cases, [opened.answer])
        return created(shown, f"/flash-sales/{shown.sale_id}", again=opened.replayed)

    @api.post("/flash-sales/{sale_id}/close", scopes=("admin",), returns={200: SaleOut}, errors=[NotFound])
    def close_sale(sale_id: int) -> Reply:
        """End a sale: pieces that were not bought go back to stock; again: the same."""
        return Reply(_shown(use_cases, [use_cases.selling.close(sale_id)])[0])


def _install_reading(api: Api, use_cases: UseCases) -> None:
    @api.get("/flash-sales", query=SalesQuery, returns={200: SalesPage}, errors=[Invalid])
    def list_sales(query: SalesQuery) -> Reply:
        """List sales, newest first."""
        found = use_cases.reader.newest(query.limit + 1, query.before, is_open=query.open)
        shown, more = query.page(found, lambda sale: sale.sale_id)
        return Reply(SalesPage(items=tuple(_shown(use_cases, shown)), next_cursor=more))

    @api.get("/flash-sales/{sale_id}", returns={200: SaleOut}, errors=[NotFound])
    def show_sale(sale_id: int) -> Reply:
        """Show a sale, and what is left."""
        return Reply(_shown(use_cases, [use_cases.reader.get(sale_id)])[0])

    @api.get("/admin/sales/{sale_id}", scopes=("admin",), returns={200: SurveyOut}, errors=[NotFound])
    def survey_sale(sale_id: int) -> Reply:
        """Show a sale to those who look after it: what it owns, what is under way, and why it is not done."""
        return Reply(SurveyOut.of(use_cases.surveying.survey(sale_id)))


def _shown(use_cases: UseCases, sales: Sequence[Sale]) -> list[SaleOut]:
    return [SaleOut.of(sale, *use_cases.showing.glance(sale), use_cases.queue.rate(sale)) for sale in sales]
