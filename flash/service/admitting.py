"""Who may try to buy now: a token of the user's bucket, and one of the sale's, before the store of pieces is asked.

A bot that asks in vain takes nothing from the sale's bucket, so it can't keep others out.
"""

from collections import Counter
from collections.abc import Sequence

from common.buckets import Buckets, Grant, whole_seconds
from common.errors import TooManyRequests

Asked = tuple[int, str]
"""The id of a sale, and the user."""


class Admitting:
    """Admits those who ask together."""

    def __init__(self, of_users: Buckets, of_sales: Buckets) -> None:
        """Take the buckets."""
        self._of_users, self._of_sales = of_users, of_sales

    def admit(self, asked: Sequence[Asked]) -> list[TooManyRequests | None]:
        """Return for each, in their order, why not; None: go on."""
        by_user = _Handing(self._of_users.take(Counter(user_id for _, user_id in asked)))
        refused = [by_user.refusal(user_id) for _, user_id in asked]
        sales = [str(sale_id) for sale_id, _ in asked]
        within = [sale for sale, refusal in zip(sales, refused, strict=True) if refusal is None]
        by_sale = _Handing(self._of_sales.take(Counter(within)) if within else {})
        return [
            by_sale.refusal(sale) if refusal is None else refusal for sale, refusal in zip(sales, refused, strict=True)
        ]


class _Handing:
    """Hands granted tokens out to those who asked for one each, the first ones first."""

    def __init__(self, granted: dict[str, Grant]) -> None:
        self._granted = granted
        self._handed: Counter[str] = Counter()

    def refusal(self, name: str) -> TooManyRequests | None:
        self._handed[name] += 1
        grant = self._granted[name]
        if self._handed[name] <= grant.tokens:
            return None
        refusal = TooManyRequests()
        refusal.retry_after = whole_seconds(grant.wait)
        return refusal
