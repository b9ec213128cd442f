"""Reconcile has the time to read whole tables: it is the only one that sees that books disagree."""

from collections.abc import Callable
from typing import Any

import pytest

from common.db import WHOLE_TABLE
from ops import ledgers, payments, provider_books, sales
from ops.findings import Limits
from ops.holdings import holdings
from order.clients.stock import StockClient

_URL = "mysql+pymysql://reader@127.0.0.1/none"


class _Opened(Exception):
    """It was opened, with so much time."""


@pytest.mark.parametrize(
    "open_it",
    [
        lambda: ledgers.Orders(_URL),
        lambda: payments.Payments(_URL, _URL, None, grace=1.0),
        lambda: provider_books.Books(_URL),
        lambda: sales.Sales(_URL, _URL, _URL, _none(), Limits(1.0, 1.0)),
        lambda: holdings.Holdings("stock", _URL, _none(), Limits(1.0, 1.0), StockClient),
    ],
    ids=["orders", "payments", "provider's books", "sales", "holdings"],
)
def test_books_are_opened_with_time_for_whole_tables(
    monkeypatch: pytest.MonkeyPatch, open_it: Callable[[], object]
) -> None:
    """Five seconds are those of a request; a sum of millions of rows sends nothing for longer."""

    def opened(_url: str, **named: Any) -> None:
        raise _Opened(named.get("statement_timeout"))

    monkeypatch.setattr(ledgers, "Database", opened)
    with pytest.raises(_Opened, match=str(WHOLE_TABLE)):
        open_it()


def _none() -> Any:
    return None
