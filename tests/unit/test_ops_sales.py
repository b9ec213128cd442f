"""Flash sales compared with stock, the store of pieces and the order service: each way to disagree is found."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from common.registry import PURCHASE_TOPIC
from flash.model import pieces as tables
from flash.model import purchases, sales
from flash.pieces.port import MOST, Buyer, PurchaseState
from halfmessage.clock import now_ms
from halfmessage.errors import DatabaseUnavailable
from halfmessage.ids import first_of
from halfmessage.mq.port import Message, MessageView, State
from ops.findings import BY_HAND, REPAIR, WAIT, Finding, Report
from ops.flash_sales import FlashSales
from ops.reconcile import Comparison
from stock.model import allotments
from tests.sale_books import CONFIRM_WITHIN, GOODS, LONG_AGO, SALE, Books, migrate

NOT_DECIDED = "the sale is closed, and not all that was bought is decided"
NOW_AND_THEN = 60_000  # ms: longer than the grace, and shorter than sweeps may take


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def books(migrated: Path, tmp_path: Path) -> Iterator[Books]:
    with closing(Books(Path(shutil.copytree(migrated, tmp_path / "books")))) as books:
        yield books


def taken(books: Books, purchase_id: int, quantity: int = 1) -> None:
    """Take pieces in the store, which no row tells of."""
    answers = books.store.take(SALE, first_of(now_ms()) + purchase_id % 1000, [Buyer(purchase_id, "u", quantity)])
    assert [answer.verdict for answer in answers] == ["taken"]


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def rebuilt(books: Books) -> int:
    return FlashSales(books.flash, books.store, "orders flash list").rebuild(SALE).wrong


class Messages:
    """A console with the messages that a test puts there."""

    def __init__(self, *views: MessageView) -> None:
        self._views = views

    def find(self, *, state: State | None = None, topic: str | None = None, **_: object) -> list[MessageView]:
        return [view for view in self._views if view.state is state and topic in {None, view.message.topic}]


def compared(books: Books, *views: MessageView) -> Report:
    console: Any = Messages(*views)
    parts = (books.ledger, [books.holdings], console, books.limits, None, books.sales)
    return Comparison(*parts, pause=lambda _: None).run()


# All of it


def test_what_agrees_is_clean(books: Books) -> None:
    """Held, returned, waiting to be placed with a request; and what was looked at is told."""
    books.order(1, "paid")
    books.hold(1)
    books.order(2, "closed")
    books.hold(2, state="released")
    books.returned(2)
    taken(books, 3)
    books.request(3, "queued")
    report = compared(books)
    assert report.findings == []
    assert report.checked == {"sales": 1, "orders": 2, "live_reservations": 1, "purchases": 3}


def test_findings_are_flash_s(books: Books) -> None:
    """Each kind: of a sale, of a purchase, of the store's count."""
    books.hold(1)
    books.order(1, "paid")
    books.do(update(sales).values(allotted=9), delete(tables.purchases), update(tables.sales).values(pieces=4))
    report = compared(books)
    assert {finding.participant for finding in report.findings} == {"flash"}
    assert {(finding.subject, finding.id) for finding in report.findings} == {("sale", str(SALE)), ("purchase", "1")}
    assert len(report.findings) == 3


@pytest.mark.parametrize(("state", "remedy"), [(State.DEAD, "resend"), (State.PARKED, "resume")])
def test_messages_of_purchases(books: Books, state: State, remedy: str) -> None:
    """Dead and parked ones are found as those of any topic, with what moves them."""
    view = MessageView("9", Message(PURCHASE_TOPIC, b""), state, "flash", now_ms(), None, None, None, (), 0, ())
    finding = only(compared(books, view).findings)
    assert (finding.remedy, PURCHASE_TOPIC in finding.what) == (f"orders messages {remedy} 9", True)


def test_a_store_that_does_not_answer(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is one finding; everything else is compared all the same."""

    def down() -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(books.sales._store, "ping", down)
    books.do(update(sales).values(allotted=9))
    found = compared(books).findings
    assert [(finding.subject, finding.gravity) for finding in found] == [
        ("sale", "disagreement"),
        ("store", "unresolved"),
    ]


# Sales, and stock


def test_stock_keeps_another_number(books: Books) -> None:
    """Told with the statement that has flash say it again, with a word that stock has not heard."""
    books.do(update(sales).values(allotted=8, word=3, heard=3))
    finding = only(books.sales.judge([SALE]))
    assert finding.what == "the sale owns 8 pieces, and stock keeps 10 for it"
    books.run(finding.remedy.removeprefix("in flash's database: ").removesuffix("; flash tells stock then"))
    assert only(books.sales.judge([SALE])).what == "stock has not heard how many pieces the sale owns"
    books.do(update(sales).values(heard=sales.c.word))
    books.stock.transact(lambda c: c.execute(update(allotments).values(quantity=8, version=7)))
    assert books.sales.judge([SALE]) == []
    books.do(update(sales).values(allotted=9))
    assert "word = 8 WHERE" in only(books.sales.judge([SALE])).remedy


def test_stock_has_forgotten_the_sale(books: Books) -> None:
    """It keeps nothing for it, or other goods."""
    books.stock.transact(lambda c: c.execute(update(allotments).values(goods_id=GOODS + 1)))
    finding = only(books.sales.judge([SALE]))
    assert (finding.what, finding.remedy) == (f"stock keeps pieces of goods {GOODS + 1} for the sale", BY_HAND)
    books.stock.transact(lambda c: c.execute(delete(allotments)))
    assert only(books.sales.judge([SALE])).what == "the sale owns 10 pieces, and stock keeps 0 for it"


def test_a_sale_that_only_stock_knows(books: Books) -> None:
    """Is told as long as stock keeps pieces for it, with the call that has it own none."""
    kept = {"sale_id": 3, "goods_id": GOODS, "quantity": 2, "version": 4}
    books.stock.transact(lambda c: c.execute(insert(allotments).values(kept)))
    finding = only(compared(books).findings)
    assert (finding.id, finding.what) == ("3", "stock keeps 2 pieces for a sale that does not exist")
    assert finding.remedy.endswith(f'PUT /internal/allotments/3 {{"goods_id": "{GOODS}", "quantity": 0, "version": 5}}')
    books.stock.transact(lambda c: c.execute(update(allotments).where(allotments.c.sale_id == 3).values(quantity=0)))
    assert compared(books).clean


@pytest.mark.parametrize(
    ("columns", "what", "gravity"),
    [
        ({"state": "opening"}, "the sale is being opened", "unresolved"),
        ({"state": "opening", "created_at": now_ms() + LONG_AGO}, "the sale is being opened", "in progress"),
        ({"ends_at": 0}, "the sale's time is over, and it is not closed", "unresolved"),
        ({"state": "closed", "closed_at": 0}, NOT_DECIDED, "in progress"),
        ({"heard": 0}, "stock has not heard how many pieces the sale owns", "unresolved"),
        ({"state": "done"}, "the sale is done and owns 10 pieces, of which 0 are bought", "disagreement"),
    ],
)  # fmt: skip
def test_what_flash_should_have_done(books: Books, columns: dict[str, Any], what: str, gravity: str) -> None:
    """Told as what it is, and by its age."""
    books.do(update(sales).values(columns))
    finding = only(books.sales.judge([SALE]))
    assert (finding.what, finding.gravity) == (what, gravity)
    assert (finding.remedy == WAIT) is (gravity == "in progress")
    assert finding.remedy != REPAIR


def test_a_sale_that_is_done_owns_what_is_bought(books: Books) -> None:
    """Held or not decided yet; what the store says is not asked any more."""
    books.order(1, "paid")
    books.hold(1)
    books.hold(2, state="released")
    books.do(update(sales).values(state="done", allotted=2, closed_at=0))
    books.stock.transact(lambda c: c.execute(update(allotments).values(quantity=2)))
    assert books.sales.judge([SALE]) == []
    books.do(delete(tables.sales), delete(tables.purchases))
    assert compared(books).clean


# The store's count


def test_the_store_does_not_know_the_sale(books: Books) -> None:
    """Or not all of it: the repair tells it."""
    for forget in (update(tables.sales).values(is_ready=False), delete(tables.sales)):
        books.do(forget)
        finding = only(books.sales.judge_count([SALE]))
        assert (finding.id, finding.remedy) == (str(SALE), REPAIR)
        rebuilt(books)
        assert books.sales.judge_count([SALE]) == []


@pytest.mark.parametrize(("change", "told"), [(1, "1 pieces more"), (-2, "2 pieces fewer")])
def test_the_store_s_count_is_wrong(books: Books, change: int, told: str) -> None:
    """To the piece: what rows hold and what is under way; forgotten and told anew, it is right."""
    books.hold(1, quantity=2)
    taken(books, 3)
    assert books.sales.judge_count([SALE]) == []
    books.do(update(tables.sales).values(pieces=tables.sales.c.pieces + change))
    finding = only(books.sales.judge_count([SALE]))
    assert finding.what == f"the store of pieces counts {told} than were bought"
    assert finding.remedy.startswith(f"orders flash rebuild {SALE} --anew")
    books.store.forget(SALE)
    assert rebuilt(books) == 1
    assert books.sales.judge_count([SALE]) == []


def test_the_store_sells_another_number(books: Books) -> None:
    """Than the sale has."""
    books.do(update(tables.sales).values(quantity=11))
    assert only(books.sales.judge_count([SALE])).what == "the store of pieces sells 11; the sale has 10"


def test_what_is_just_given_back_may_be_counted(books: Books) -> None:
    """Until the store has heard of it, and flash has noted that."""
    books.hold(1, state="released")
    books.do(update(purchases).values(fate="returned"))
    assert books.sales.judge_count([SALE]) == []
    books.returned(1, told=False)
    assert books.sales.judge_count([SALE]) == []
    books.do(update(tables.sales).values(pieces=2))
    assert "1 pieces more" in only(books.sales.judge_count([SALE])).what


def test_a_count_that_moves_is_not_judged(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user buys between the looks, or a purchase becomes a row."""
    books.do(update(tables.sales).values(pieces=5))
    taken(books, 99)
    monkeypatch.setattr("ops.purchases.MOST_PAGES", 0)
    assert books.sales.judge_count([SALE]) == []  # there may be more under way than are looked at
    monkeypatch.undo()
    assert len(books.sales.judge_count([SALE])) == 1
    find = books.sales.purchases.under_way
    numbers = iter(range(100, 200))

    def meanwhile(sale_id: int) -> Any:
        found = find(sale_id)
        taken(books, next(numbers))
        return found

    monkeypatch.setattr(books.sales.purchases, "under_way", meanwhile)
    assert books.sales.judge_count([SALE]) == []


# Purchases


def test_the_store_has_forgotten_a_purchase(books: Books) -> None:
    """Held or free: the repair tells it."""
    books.hold(1)
    books.hold(2, state="released")
    books.do(delete(tables.purchases), update(tables.sales).values(pieces=0))
    found = books.judged(1, 2)
    assert [(finding.id, finding.remedy) for finding in found] == [("1", REPAIR), ("2", REPAIR)]
    assert found[0].what == "the purchase is held, and the store has forgotten it"
    assert rebuilt(books) == 2
    assert [finding.gravity for finding in books.judged(1, 2)] == ["in progress"]  # it is free
    assert books.sales.judge_count([SALE]) == []


def test_the_store_counts_what_was_given_back(books: Books) -> None:
    """As one set back to an older copy does."""
    books.hold(1, state="released")
    books.do(update(purchases).values(fate="returned", told=True))
    finding = only(books.judged(1))
    assert (finding.what, finding.remedy) == ("its pieces are given back, and the store counts them as bought", REPAIR)
    assert rebuilt(books) == 1
    assert books.judged(1) == []
    books.do(delete(tables.purchases))
    assert books.judged(1) == []  # it may have forgotten that


def test_the_store_gave_back_what_is_held(books: Books) -> None:
    """No rebuilding undoes that; the store is to forget the sale first."""
    books.hold(1)
    books.store.give_back(SALE, [Buyer(1, "u1", 1)])
    finding = only(books.judged(1))
    assert finding.what == "the purchase is held, and the store has given its pieces back"
    assert finding.remedy.startswith(f"orders flash rebuild {SALE} --anew")


@pytest.mark.parametrize("column", [{"quantity": 2}, {"user_id": "eve"}])
def test_the_store_has_another_purchase(books: Books, column: dict[str, Any]) -> None:
    """Of another user, or of more pieces."""
    books.hold(1)
    books.do(update(tables.purchases).values(column))
    assert "the row has 1" in only(books.judged(1)).what


@pytest.mark.parametrize(("ago", "gravity", "remedy"), [(LONG_AGO, "unresolved", REPAIR), (0, "in progress", WAIT)])
def test_the_store_has_not_heard_of_a_holding(books: Books, ago: int, gravity: str, remedy: str) -> None:
    """The sweep tells it, or the repair."""
    purchase_id = first_of(now_ms() - ago)
    books.hold(purchase_id)
    books.do(update(tables.purchases).values(state=PurchaseState.TAKEN.value))
    finding = only(books.judged(purchase_id))
    assert (finding.gravity, finding.remedy) == (gravity, remedy)
    rebuilt(books)
    assert books.judged(purchase_id) == []


@pytest.mark.parametrize(("ago", "gravity"), [(LONG_AGO, "unresolved"), (0, "in progress")])
def test_a_purchase_that_nothing_tells_of(books: Books, ago: int, gravity: str) -> None:
    """It took its pieces, and has neither an order request nor a holding: found after the grace."""
    purchase_id = first_of(now_ms() - ago)
    taken(books, purchase_id)
    finding = only(compared(books).findings)
    assert (finding.subject, finding.id, finding.gravity) == ("purchase", str(purchase_id), gravity)
    assert finding.what == "the purchase took its pieces, and there is no order request of it"
    assert finding.remedy not in {REPAIR, BY_HAND}


@pytest.mark.parametrize(("ago", "gravity"), [(LONG_AGO, "unresolved"), (NOW_AND_THEN, "in progress")])
@pytest.mark.parametrize("state", ["refused", "failed", "closed"])
def test_a_purchase_that_became_no_order(books: Books, state: str, ago: int, gravity: str) -> None:
    """Its pieces come back with the next sweep; it is told when that takes too long."""
    assert ago < CONFIRM_WITHIN * 1000 or gravity == "unresolved"
    taken(books, 1)
    if state == "closed":
        books.order(1, "closed", closed_at=now_ms() - ago)
        books.request(1, "created", order_id=1, decided_at=0)
    else:
        books.request(1, state, decided_at=now_ms() - ago)
    finding = only(books.judged(1))
    assert (finding.what, finding.gravity) == (
        "the purchase became no order, and its pieces are not given back",
        gravity,
    )


@pytest.mark.parametrize("state", ["queued", "created"])
def test_a_purchase_whose_request_is_there(books: Books, state: str) -> None:
    """It waits, or its order stands: then what flash holds is compared with the order."""
    taken(books, 1)
    if state == "created":
        books.order(1, "created")
    books.request(1, state, order_id=1 if state == "created" else None)
    assert books.judged(1) == []


def test_borders_of_pages(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each purchase is looked at once, however pages and parts of them fall; those under way last."""
    for purchase_id in range(1, 8):
        books.hold(purchase_id)
    taken(books, 8)
    monkeypatch.setattr("ops.ledgers._PAGE", 5)
    monkeypatch.setattr("ops.purchases.MOST", 2)
    looked_at = [list(page) for page in books.sales.purchases.pages(SALE)]
    assert looked_at == [[1, 2], [3, 4], [5], [6, 7], [8]]
    assert MOST > 2
