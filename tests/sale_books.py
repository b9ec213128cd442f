"""The books of one flash sale: databases of order, stock and flash, and the store of pieces, which agree at first."""

from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text, update

from common import migrations
from common.db import Database
from flash.model import holdings, purchases, reservations, sale_user, sale_users, sales
from flash.model import pieces as tables
from flash.pieces.in_database import DatabasePieces
from flash.pieces.port import Buyer
from flash.service.reading import sale_of
from halfmessage.clock import now_ms
from ops.findings import Finding, Limits
from ops.holdings import holdings_of
from ops.ledgers import Orders
from ops.sales import Sales
from order.model import order_lines, order_requests, orders
from stock.model import allotments, stock

SALE, GOODS = 7, 5
PIECES = 10
LONG_AGO = 3_600_000  # ms
GRACE, CONFIRM_WITHIN = 30.0, 180.0


def urls_in(folder: Path) -> dict[str, str]:
    """Return where the databases of a folder are."""
    return {name: f"sqlite:///{folder}/{name}.db" for name in ("order", "stock", "flash")}


def migrate(folder: Path) -> Path:
    """Make the databases, which takes a second or two: once for many tests, which copy the folder."""
    for service, url in urls_in(folder).items():
        migrations.upgrade(service, url)
    return folder


class Books:
    """Open, each for writing; and what compares them. A sale of ten pieces goes on."""

    def __init__(self, folder: Path) -> None:
        """Open those that `migrate` has made in a folder."""
        self.urls = urls_in(folder)
        self.orders, self.stock, self.flash = (Database(url) for url in self.urls.values())
        self.store = DatabasePieces(self.flash, tables)
        self.limits = Limits(GRACE, CONFIRM_WITHIN)
        self.ledger = Orders(self.urls["order"])
        self.holdings = holdings_of("flash", self.urls["flash"], self.ledger, self.limits)
        self.sales = Sales(self.urls["flash"], self.urls["stock"], "", self.ledger, self.limits)
        self.open(SALE)

    def close(self) -> None:
        for each in (self.orders, self.stock, self.flash, self.ledger, self.holdings, self.sales):
            each.close()

    def do(self, *statements: Any) -> None:
        """Change the database of flash."""
        for statement in statements:
            self.flash.transact(lambda connection, one=statement: connection.execute(one))  # type: ignore[misc]

    def run(self, sql: str) -> None:
        """Do what a remedy says."""
        self.do(text(sql))

    def open(self, sale_id: int) -> None:
        now = now_ms()
        row = {
            "sale_id": sale_id, "state": "open", "goods_id": GOODS, "name": "Tea", "brief": "", "unit_price": 99,
            "currency": "EUR", "quantity": PIECES, "per_user": PIECES, "starts_at": now - LONG_AGO,
            "ends_at": now + LONG_AGO, "created_at": now - LONG_AGO, "allotted": PIECES, "word": 1, "heard": 1,
        }  # fmt: skip
        self.do(insert(sales).values(row))
        kept = {"sale_id": sale_id, "goods_id": GOODS, "quantity": PIECES, "version": 1}
        self.stock.transact(lambda connection: connection.execute(insert(allotments).values(kept)))
        owned = {"total": stock.c.total + PIECES}
        self.stock.transact(
            lambda c: (
                c.execute(update(stock).values(owned)).rowcount
                or c.execute(insert(stock).values(goods_id=GOODS, total=PIECES, available=0))
            )
        )
        with self.flash.read() as connection:
            sale = sale_of(connection.execute(select(sales).where(sales.c.sale_id == sale_id)).mappings().one())
        self.store.put(sale.terms)
        self.store.set_ready(sale_id)

    def order(self, order_id: int, status: str, *, quantity: int = 1, **columns: Any) -> None:
        """Write an order that was bought in the sale, by a purchase of the same number."""
        then = now_ms() - LONG_AGO
        row = {
            "order_id": order_id, "tx_id": order_id, "user_id": f"u{order_id}", "status": status, "total_amount": 1,
            "currency": "EUR", "created_at": then, "expires_at": now_ms() + LONG_AGO, "sale_id": SALE,
            "purchase_id": order_id, "closed_at": then if status == "closed" else None,
        } | columns  # fmt: skip
        line = {"order_id": order_id, "position": 0, "goods_id": GOODS, "name": "n", "brief": "", "unit_price": 1}
        self.orders.transact(lambda c: c.execute(insert(orders).values(row)))
        self.orders.transact(lambda c: c.execute(insert(order_lines).values(line | {"quantity": quantity})))

    def request(self, purchase_id: int, state: str, **columns: Any) -> None:
        row = {
            "request_id": purchase_id, "tx_id": 1, "user_id": "u", "idempotency_key": str(purchase_id),
            "request_hash": "", "state": state, "submitted_at": 0,
        } | columns  # fmt: skip
        self.orders.transact(lambda connection: connection.execute(insert(order_requests).values(row)))

    def hold(self, order_id: int, *, state: str = "deducted", quantity: int = 1) -> None:
        """Hold a purchase of the same number for an order, or let it go again; the store knows it."""
        is_held = state == "deducted"
        user_id = f"u{order_id}"
        row = {
            "purchase_id": order_id, "sale_id": SALE, "user_id": user_id, "quantity": quantity,
            "holders": int(is_held), "fate": "held" if is_held else "free",
        }  # fmt: skip
        self.do(
            insert(reservations).values(order_id=order_id, tx_id=1, state=state, created_at=now_ms() - LONG_AGO),
            insert(holdings).values(order_id=order_id, purchase_id=order_id),
            insert(purchases).values(row),
        )
        self.store.hold(SALE, [Buyer(order_id, user_id, quantity)])
        if is_held:
            self.do(insert(sale_users).values(sale_user=sale_user(SALE, user_id), held=quantity))
            if quantity <= PIECES:
                self.do(update(sales).values(held=sales.c.held + quantity))

    def returned(self, purchase_id: int, *, told: bool = True) -> None:
        """Have a purchase that is free be returned; the store knows it."""
        one = purchases.c.purchase_id == purchase_id
        self.do(update(purchases).where(one).values(fate="returned", told=told))
        self.store.give_back(SALE, [Buyer(purchase_id, f"u{purchase_id}", 1)])

    def judged(self, *purchase_ids: int) -> list[Finding]:
        return self.sales.purchases.judge(SALE, purchase_ids)
