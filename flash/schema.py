"""What comes in and goes out over REST."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from common.config import MOST_TURNS
from common.paging import Page, PageQuery
from common.purchases import MOST_OF_ONE
from common.reservations.schema import DecisionOut, ReservationOut, WantIn
from common.schema import Currency, Id, Instant, Money, QueryFlag, Schema, UserId, later_than
from flash.model import NewSale, PurchaseFate, Sale, SaleState
from flash.pieces.port import MOST_PIECES, Phase
from flash.service.holding import Want
from flash.service.queueing import LONGEST, Ticket
from flash.service.surveying import Survey
from halfmessage.clock import rfc3339

Pieces = Annotated[int, Field(ge=1, le=MOST_PIECES)]
OfOne = Annotated[int, Field(ge=1, le=MOST_OF_ONE)]
State = Literal["open", "closed"]


class NewSaleIn(Schema):
    """A sale to open: `quantity` pieces of one goods, which it owns from then on, `per_user` of them for one user."""

    goods_id: Id
    quantity: Pieces
    unit_price: Money
    starts_at: Instant
    ends_at: Annotated[Instant, later_than("starts_at"), Field(description="later than starts_at, and than now")]
    per_user: OfOne = 1
    queue_rate: Annotated[int, Field(ge=0, le=MOST_TURNS)] | None = Field(
        default=None,
        description="buyers who have their turn in a second, by queue ticket; 0: none is needed; null: as is set",
    )

    def parsed(self) -> NewSale:
        """Return it as the use case takes it."""
        return NewSale(**dict(self))


class SaleOut(Schema):
    """A sale; `left`: pieces that can be bought, null while that is not known."""

    sale_id: Id
    goods_id: Id
    name: str
    quantity: int
    unit_price: int
    market_price: int | None
    currency: Currency
    per_user: int
    queue_rate: int = Field(description="buyers who have their turn in a second; 0: no queue ticket is needed")
    starts_at: Instant
    ends_at: Instant
    state: State
    phase: Phase = Field(description="by the clock of who counts the pieces")
    left: int | None
    created_at: Instant
    closed_at: Instant | None

    @classmethod
    def of(cls, sale: Sale, phase: Phase, left: int | None, queue_rate: int) -> "SaleOut":
        """Show a sale."""
        return cls(
            **{name: getattr(sale, name) for name in _AS_THEY_ARE},
            state="open" if sale.state == "open" else "closed",
            phase=phase,
            left=left,
            queue_rate=queue_rate,
        )


_REASONED = {"state", "phase", "left", "queue_rate"}
_AS_THEY_ARE = tuple(name for name in SaleOut.model_fields if name not in _REASONED)


class SecondOut(Schema):
    """How many purchases of a sale were made within a second."""

    at: Instant
    purchases: int


class SurveyOut(Schema):
    """A sale for those who look after it, whatever its state; see `surveying`.

    `owned`, `held`: pieces that it owns at stock, and that orders hold. `purchases`: how many there are by fate.
    `under_way`: purchases that took pieces and are no row yet, null while that is not known. `sold`: the purchases of
    the last 60 seconds. `waits_for`: why it is not done, in words.
    """

    sale_id: Id
    goods_id: Id
    name: str
    quantity: int
    unit_price: int
    currency: Currency
    per_user: int
    starts_at: Instant
    ends_at: Instant
    created_at: Instant
    closed_at: Instant | None
    state: SaleState
    phase: Phase
    left: int | None
    owned: int
    held: int
    purchases: dict[PurchaseFate, int]
    under_way: int | None
    counted: int | None = Field(description="pieces that the store counts as bought; null while it does not answer")
    stock_has_heard: bool
    sold: tuple[SecondOut, ...]
    waits_for: tuple[str, ...]

    @classmethod
    def of(cls, found: Survey) -> "SurveyOut":
        """Show a survey."""
        return cls(
            **{name: getattr(found.sale, name) for name in _OF_SALE},
            **{name: getattr(found, name) for name in ("phase", "left", "owned", "held", "stock_has_heard")},
            state=SaleState(found.sale.state),
            purchases={fate: found.purchases.get(fate.value, 0) for fate in PurchaseFate},
            under_way=found.under_way,
            counted=None if found.store is None else found.store.pieces,
            sold=tuple(SecondOut(at=at, purchases=number) for at, number in found.sold),
            waits_for=tuple(found.waits_for),
        )


_OF_SALE = tuple(name for name in SurveyOut.model_fields if name in Sale.__dataclass_fields__ and name != "state")


class SalesQuery(PageQuery):
    """Which sales to list; `open`: those in which users can buy, or will be able to, or only others."""

    open: QueryFlag | None = None


class SalesPage(Page[SaleOut]):
    """Sales, newest first."""


class Buy(Schema):
    """How many pieces to buy; `ticket`: where buyers queue, one's own of this sale."""

    quantity: OfOne = 1
    ticket: Annotated[str, Field(pattern=rf"^[!-~]{{1,{LONGEST}}}$")] | None = None


class TicketOut(Schema):
    """A place in a sale's queue: `place` buyers are before it, and it lets its user buy from `turn_at` on."""

    ticket: str
    place: Annotated[int, Field(ge=0)]
    turn_at: Instant
    expires_at: Instant = Field(description="ask for it again before then; the place stays the same")

    @classmethod
    def of(cls, ticket: Ticket, text: str) -> "TicketOut":
        """Show a ticket."""
        place = ticket.place
        return cls(ticket=text, place=place.number, turn_at=place.turn_at, expires_at=ticket.expires_at)


class RequestOut(Schema):
    """A purchase that is taken in: the order request that it is. Where it points tells what becomes of it."""

    model_config = ConfigDict(json_schema_extra={"description": "As `GET /order-requests/{id}` of the order service."})

    request_id: Id
    state: Literal["queued"]
    order_id: None
    ahead: None
    problem: None
    submitted_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    decided_at: None


def request_document(purchase_id: int, at: int) -> dict[str, Any]:
    """Return what `RequestOut` declares; `at` in ms since the epoch."""
    nothing = dict.fromkeys(("order_id", "ahead", "problem", "decided_at"))
    return {"request_id": str(purchase_id), "state": "queued", "submitted_at": rfc3339(at), **nothing}


class LocationMembers(Schema):
    """What `already-bought` tells beside its detail: the address of the first purchase, null where there is none."""

    location: str | None


class PurchaseOut(Schema):
    """A purchase that got its pieces."""

    purchase_id: Id
    sale_id: Id
    user_id: UserId
    quantity: int


class OrderIn(WantIn):
    """The purchase that one order is for; `purchased_in`: the transaction that took its pieces."""

    sale_id: Id
    purchase_id: Id
    user_id: UserId
    quantity: OfOne
    purchased_in: Id | None = None

    def want(self) -> Want:
        """Return it as the effect takes it."""
        return Want(self.sale_id, self.purchase_id, self.user_id, self.quantity, self.purchased_in)


class PurchaseDecision(DecisionOut):
    """What one order got."""

    verdict: Literal["deducted", "sold-out", "already-bought", "released"]


class PurchaseReservation(ReservationOut):
    """A reservation; without a purchase it is a tombstone."""

    sale_id: Id | None = None
    purchase_id: Id | None = None
    quantity: int | None = None
