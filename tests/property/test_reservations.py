"""Any interleaving of deductions, releases, duplicates, late messages and restocking, against a model in Python."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete, func, select

from common.db import Database
from halfmessage.participant.model import ReservationState
from stock import model
from stock.model import BelowReserved, InsufficientStock
from stock.service.allotments import Allotment, Allotments
from stock.service.levels import Levels
from stock.service.pieces import INSUFFICIENT, stock_reservations
from tests.databases import database_url
from tests.support import short_of

pytestmark = [
    pytest.mark.timeout(600),  # its transactions are real ones: on a busy machine they take minutes
    pytest.mark.P1,
    pytest.mark.P3,
]
GOODS = (1, 2, 3)
SALES = {91: 1, 92: 1, 93: 2}  # their goods
TX = 100

order_ids = st.integers(1, 6)
quantities = st.dictionaries(st.sampled_from(GOODS), st.integers(1, 4), min_size=1)
batches = st.dictionaries(order_ids, quantities, min_size=1, max_size=4)


class Stock(RuleBasedStateMachine):
    """The stock service beside what it should be.

    `totals` by goods, `headers` by order (state, verified, lines), `allotted` by sale (pieces, version).
    """

    requests = Bundle("requests")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        tables = (model.reservation_lines, model.reservations, model.allotments, model.stock)
        self.database.transact(lambda c: [c.execute(delete(table)) for table in tables])
        self.levels, self.reservations = Levels(self.database), stock_reservations(self.database)
        self.allotments = Allotments(self.database)
        self.totals: dict[int, int] = {}
        self.headers: dict[int, tuple[ReservationState, bool, Mapping[int, int]]] = {}
        self.allotted: dict[int, tuple[int, int]] = {}

    def _available(self, goods_id: int) -> int:
        live = [lines for state, _, lines in self.headers.values() if state is ReservationState.DEDUCTED]
        held = sum(lines.get(goods_id, 0) for lines in live)
        return self.totals.get(goods_id, 0) - held - self._owned(goods_id)

    def _owned(self, goods_id: int) -> int:
        return sum(pieces for sale_id, (pieces, _) in self.allotted.items() if SALES[sale_id] == goods_id)

    @rule(goods_id=st.sampled_from(GOODS), quantity=st.integers(1, 5))
    def restock(self, goods_id: int, quantity: int) -> None:
        self.levels.restock(goods_id, quantity)
        self.totals[goods_id] = self.totals.get(goods_id, 0) + quantity

    @rule(goods_id=st.sampled_from(GOODS), total=st.integers(0, 8))
    def set_total(self, goods_id: int, total: int) -> None:
        if total < self.totals.get(goods_id, 0) - self._available(goods_id):
            with pytest.raises(BelowReserved):
                self.levels.set_total(goods_id, total)
        else:
            self.levels.set_total(goods_id, total)
            self.totals[goods_id] = total

    @rule(sale_id=st.sampled_from(sorted(SALES)), pieces=st.integers(0, 5), version=st.integers(1, 6))
    def allot(self, sale_id: int, pieces: int, version: int) -> None:
        wanted = Allotment(sale_id, SALES[sale_id], pieces, version)
        owned, last = self.allotted.get(sale_id, (0, 0))
        if version > last and pieces - owned > self._available(SALES[sale_id]):
            with pytest.raises(InsufficientStock):
                self.allotments.put(wanted)
            return
        if version > last:
            self.allotted[sale_id] = owned, last = pieces, version
        assert self.allotments.put(wanted) == Allotment(sale_id, SALES[sale_id], owned, last)

    @rule(target=requests, batch=batches)
    def deduct(self, batch: dict[int, dict[int, int]]) -> dict[int, dict[int, int]]:
        decisions = self.reservations.deduct(TX, batch)
        assert [decision.order_id for decision in decisions] == list(batch)
        for decision, (order_id, lines) in zip(decisions, batch.items(), strict=True):
            assert (decision.verdict, short_of(decision)) == self._deduct(order_id, lines)
        return batch

    @rule(batch=requests)
    def deduct_again_or_late(self, batch: dict[int, dict[int, int]]) -> None:
        self.deduct(batch)

    def _deduct(self, order_id: int, lines: Mapping[int, int]) -> tuple[str, tuple[int, ...]]:
        if order_id in self.headers:
            return self.headers[order_id][0].value, ()
        short = tuple(sorted(g for g, quantity in lines.items() if quantity > self._available(g)))
        if short:
            return INSUFFICIENT, short
        self.headers[order_id] = (ReservationState.DEDUCTED, False, lines)
        return ReservationState.DEDUCTED, ()

    @rule(released=st.sets(order_ids, min_size=1))
    def release(self, released: set[int]) -> None:
        self.reservations.release(dict.fromkeys(released, TX))
        for order_id in released:
            self._release(order_id)

    def _release(self, order_id: int) -> None:
        _, verified, lines = self.headers.get(order_id, (None, False, {}))
        self.headers[order_id] = (ReservationState.RELEASED, verified, lines)

    @rule(fates=st.dictionaries(order_ids, st.sampled_from(["stands", "void"]), min_size=1))
    def settle(self, fates: dict[int, Any]) -> None:
        states = self.reservations.settle({order_id: (TX, fate) for order_id, fate in fates.items()})
        for order_id, fate in fates.items():
            if fate == "void":
                self._release(order_id)
            elif self.headers.get(order_id, (None,))[0] is ReservationState.DEDUCTED:
                self.headers[order_id] = (ReservationState.DEDUCTED, True, self.headers[order_id][2])
        assert states == {o: self.headers[o][0] for o in fates if o in self.headers}

    @invariant()
    def levels_agree(self) -> None:
        lines, headers, live = model.reservation_lines.c, model.reservations.c, ReservationState.DEDUCTED.value
        query = select(lines.goods_id, func.sum(lines.quantity)).where(
            (headers.order_id == lines.order_id) & (headers.state == live)
        )
        with self.database.read() as connection:
            held = dict(connection.execute(query.group_by(lines.goods_id)).all())
        for goods_id in GOODS:
            level = self.levels.get(goods_id)
            assert (
                level.total
                == self.totals.get(goods_id, 0)
                == level.available + held.get(goods_id, 0) + self._owned(goods_id)
            )
            assert level.available == self._available(goods_id) >= 0

    @invariant()
    def reservations_agree(self) -> None:
        headers = model.reservations.c
        with self.database.read() as connection:
            rows = connection.execute(select(headers.order_id, headers.state, headers.verified)).all()
        assert {o: (s, v) for o, s, v in rows} == {o: (s.value, v) for o, (s, v, _) in self.headers.items()}
        unverified = self.reservations.unverified(older_than=2**53, after=0, limit=100)
        live = [o for o, (state, verified, _) in sorted(self.headers.items()) if state == "deducted" and not verified]
        assert [reservation.order_id for reservation in unverified] == live


def test_reservations() -> None:
    """After every step, in any order of steps: each level and each reservation is what the model says."""
    with tempfile.TemporaryDirectory() as directory:
        database = Database(database_url(Path(directory), "stock"))
        model.metadata.create_all(database.engine)
        steps = settings(max_examples=40, stateful_step_count=20, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(lambda: Stock(database), settings=steps)  # type: ignore[arg-type]
        database.close()
