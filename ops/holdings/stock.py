"""Stock: each order's pieces, and what there is of each goods."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from halfmessage.participant.model import ReservationState
from ops.findings import BY_HAND, REPAIR, Finding, wrong
from ops.holdings.holdings import Holdings
from ops.ledgers import OrderRow
from order.model import Status
from stock.model import allotments, reservation_lines, reservations, stock


@dataclass(frozen=True, slots=True)
class Level:
    """The stock of one goods, with the sums of its live reservations and of what sales own, from one snapshot."""

    goods_id: int
    total: int
    available: int
    reserved: int
    allotted: int = 0


class StockHoldings(Holdings):
    """Pieces of goods."""

    held = "reserved"
    _available: Mapping[int, int] = {}

    def numbers(self) -> tuple[dict[str, int], list[Finding]]:
        """Look at each goods: its total is what is available, what is reserved, and what sales own."""
        levels = self._levels()
        self._available = {level.goods_id: level.available for level in levels}
        return {"goods": len(levels)}, [finding for level in levels if (finding := _judge_level(level))]

    def details(self, order_ids: Collection[int]) -> Mapping[int, Mapping[int, int]]:
        """Return the pieces by goods."""
        lines: defaultdict[int, dict[int, int]] = defaultdict(dict)
        query = select(reservation_lines).where(reservation_lines.c.order_id.in_(order_ids))
        with self.database.read() as connection:
            for line in connection.execute(query):
                lines[line.order_id][line.goods_id] = line.quantity
        return lines

    def differences(self, order_id: str, order: OrderRow, detail: Any) -> Iterator[Finding]:
        """Compare the lines."""
        if dict(order.lines) != (detail or {}):
            yield wrong("order", order_id, f"the order is {order.status}, but other quantities are reserved", BY_HAND)

    def remedy(self, order: OrderRow) -> str:
        """Return what gets the order its stock; an unpaid one for which it is short is closed by the repair."""
        short = {g: pieces for g, wanted in order.lines.items() if (pieces := wanted - self._available.get(g, 0)) > 0}
        if order.status is Status.CREATED or not short:
            return REPAIR
        calls = "; ".join(f'POST /stock/{g}/restock {{"quantity": {pieces}}}' for g, pieces in sorted(short.items()))
        return f"its stock is short: {calls} once they are there, then {REPAIR}"

    def _levels(self) -> list[Level]:
        """Return the stock of all goods, one snapshot: what is reserved is summed up in the database."""
        live = reservations.c.state == ReservationState.DEDUCTED.value
        sums = (
            select(reservation_lines.c.goods_id, func.sum(reservation_lines.c.quantity).label("reserved"))
            .join(reservations, reservations.c.order_id == reservation_lines.c.order_id)
            .where(live)
            .group_by(reservation_lines.c.goods_id)
        )
        owned = select(allotments.c.goods_id, func.sum(allotments.c.quantity)).group_by(allotments.c.goods_id)
        with self.database.read(snapshot=True) as connection:
            allotted = {goods_id: int(quantity) for goods_id, quantity in connection.execute(owned)}
            reserved = {row.goods_id: int(row.reserved) for row in connection.execute(sums)}
            rows = {row.goods_id: (row.total, row.available) for row in connection.execute(select(stock))}
        known = sorted(rows.keys() | reserved.keys() | allotted.keys())
        return [Level(g, *rows.get(g, (0, 0)), reserved.get(g, 0), allotted.get(g, 0)) for g in known]


def _judge_level(level: Level) -> Finding | None:
    if level.available >= 0 and level.total == level.available + level.reserved + level.allotted:
        return None
    numbers = f"total {level.total}, available {level.available}, reserved {level.reserved}"
    numbers += f", owned by sales {level.allotted}" if level.allotted else ""
    taken = level.reserved + level.allotted
    total = max(level.total, taken)
    mended = f"total = {total}, available = {total - taken}"
    sql = f"UPDATE stock SET {mended} WHERE goods_id = {level.goods_id}"  # noqa: S608 # nosec B608 - shown, never executed
    remedy = f"stop stock and count the pieces; {sql}"
    return wrong("goods", str(level.goods_id), f"the stock does not add up: {numbers}", remedy)
