"""Orders of flash sales and what flash holds for them compared: each way in which they can disagree is found."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from flash.model import holdings, purchases, reservations, sale_users, sales
from ops.findings import Finding
from order.model import orders
from tests.sale_books import SALE, Books, migrate

OTHER = 8


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def books(migrated: Path, tmp_path: Path) -> Iterator[Books]:
    with closing(Books(Path(shutil.copytree(migrated, tmp_path / "books")))) as books:
        yield books


def numbers(books: Books) -> list[Finding]:
    counted, found = books.holdings.numbers()
    assert counted == {"sales": 1}
    return found


def test_what_agrees_is_not_found(books: Books) -> None:
    """Held by open and paid orders, let go by closed ones; another order needs nothing of it."""
    books.order(1, "created")
    books.hold(1)
    books.order(2, "paid", quantity=2)
    books.hold(2, quantity=2)
    books.order(3, "closed")
    books.hold(3, state="released")
    books.order(4, "paid", sale_id=None, purchase_id=None)
    assert books.holdings.judge([1, 2, 3, 4]) == []
    assert numbers(books) == []
    assert [list(page) for page in books.holdings.live_ids()] == [[1, 2]]


@pytest.mark.parametrize(
    ("status", "state", "what"),
    [
        ("created", None, "the order is created, but its purchase is not held"),
        ("paid", "released", "the order is paid, but its purchase is not held"),
        ("closed", "deducted", "the order is closed, but its purchase is still held"),
        (None, "deducted", "purchase is held for an order that does not exist"),
    ],
)
def test_each_disagreement(books: Books, status: str | None, state: str | None, what: str) -> None:
    """With its words, as one of flash."""
    if status is not None:
        books.order(1, status)
    if state is not None:
        books.hold(1, state=state)
    (finding,) = books.holdings.judge([1])
    assert (finding.what, finding.gravity, finding.participant) == (what, "disagreement", "flash")


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"purchase_id": OTHER}, "another purchase is held"),
        ({"sale_id": OTHER}, "another purchase is held"),
        ({"quantity": 2}, "other quantities are held"),
        ({"sale_id": None, "purchase_id": None}, "needs no purchase, but it is held"),
    ],
)
def test_another_purchase_than_the_order_s(books: Books, columns: dict[str, Any], what: str) -> None:
    """Of another sale, of other pieces, or of none."""
    books.order(1, "paid", **columns)
    books.hold(1)
    (finding,) = books.holdings.judge([1])
    assert what in finding.what


def test_a_purchase_that_stands_twice(books: Books) -> None:
    """Two orders hold it and both stand: told of each. A try that was given up is none."""
    books.order(1, "paid", purchase_id=1)
    books.hold(1)
    books.do(
        reservations.insert().values(order_id=2, tx_id=2, state="deducted", created_at=0),
        holdings.insert().values(order_id=2, purchase_id=1),
        update(purchases).values(holders=2),
    )
    assert books.holdings.judge([1]) == []
    books.order(2, "created", purchase_id=1)
    assert [finding.what for finding in books.holdings.judge([1, 2])] == [
        "purchase 1 stands as several orders, also 2",
        "purchase 1 stands as several orders, also 1",
    ]
    assert numbers(books) == []
    books.orders.transact(lambda c: c.execute(update(orders).where(orders.c.order_id == 2).values(status="closed")))
    assert books.holdings.judge([1]) == []


def test_a_sale_s_count(books: Books) -> None:
    """Is told with the one that is right, and the statement that mends it, which does."""
    books.hold(1, quantity=2)
    books.do(update(sales).values(held=1))
    (finding,) = numbers(books)
    assert (finding.subject, finding.id) == ("sale", str(SALE))
    assert finding.what == "the sale does not add up: 10 pieces, 10 owned, 1 counted as held; 2 are"
    books.run(finding.remedy.removeprefix("stop flash; "))
    assert numbers(books) == []


@pytest.mark.parametrize(("owned", "held"), [(10, 11), (11, 1)])
def test_oversold(books: Books, owned: int, held: int) -> None:
    """Orders hold more than it owns, or it owns more than there is for sale."""
    books.hold(1, quantity=held)
    books.do(update(sales).values(held=1, allotted=owned), update(sales).values(held=min(held, owned)))
    assert "the sale is oversold" in "".join(finding.what for finding in numbers(books))


def test_a_user_s_count(books: Books) -> None:
    """Too high, without its row, or of a user who holds nothing."""
    books.hold(1)
    books.do(update(sale_users).values(held=2))
    assert [finding.what for finding in numbers(books)] == ["a user's pieces do not add up: 2 counted for u1; 1 are"]
    books.do(delete(sale_users))
    assert [finding.what for finding in numbers(books)] == ["a user's pieces do not add up: 0 counted for u1; 1 are"]
    books.do(sale_users.insert().values([{"sale_user": f"{SALE} {user}", "held": 1} for user in ("u1", "u2")]))
    assert [finding.what for finding in numbers(books)] == ["a user's pieces do not add up: 1 counted for u2; 0 are"]


def test_a_user_who_holds_too_much(books: Books) -> None:
    """However it is counted."""
    books.hold(1, quantity=2)
    assert numbers(books) == []
    books.do(update(sales).values(per_user=1))
    assert [finding.what for finding in numbers(books)] == ["u1 holds 2 pieces, and may hold 1"]


@pytest.mark.parametrize(
    ("state", "wrong", "mended"),
    [
        ("deducted", {"holders": 2}, "holders = 1, fate = 'held'"),
        ("deducted", {"holders": 0}, "holders = 1, fate = 'held'"),
        ("released", {"holders": 1}, "holders = 0, fate = 'free'"),
        ("released", {"fate": "returned", "holders": 1}, "holders = 0, fate = 'returned'"),
        ("released", {"fate": "held"}, "holders = 0, fate = 'free'"),
        ("deducted", {"fate": "free"}, "holders = 1, fate = 'held'"),
    ],
)
def test_a_purchase_s_holders(books: Books, state: str, wrong: dict[str, Any], mended: str) -> None:
    """As many as there are, and held by one at least or not at all; the statement mends it."""
    books.hold(1, state=state)
    assert numbers(books) == []
    books.do(update(purchases).values(wrong))
    (finding,) = [finding for finding in numbers(books) if finding.subject == "purchase"]
    assert mended in finding.remedy
    books.run(finding.remedy.removeprefix("stop flash; ").removesuffix("; compare again"))
    assert numbers(books) == []
