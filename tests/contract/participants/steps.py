"""Any interleaving of taking, giving back, repeating and settling, of one order and of many, beside the model."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import delete

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.participant.model import ReservationState
from tests.contract.participants.case import DEDUCTED, Case, Model

TX = 100
order_ids = st.integers(1, 6)  # few, so that they meet again
some = st.sets(order_ids, min_size=1)


class Steps(RuleBasedStateMachine):
    """A participant on a database that is emptied first, beside its model."""

    requests = Bundle("requests")

    def __init__(self, case: Case[Any], database: Database) -> None:
        super().__init__()
        self.case, self.database = case, database
        tables = reversed(case.metadata.sorted_tables)
        database.transact(lambda connection: [connection.execute(delete(table)) for table in tables])
        case.prepare(database)
        self.reservations = case.reservations(database)
        self.model = Model(case, case.free(database))

    def _unpaid(self, wanted: set[int]) -> set[int]:
        """Leave out the orders that are paid: the protocol releases none of them."""
        return {order_id for order_id in wanted if not (header := self.model.headers.get(order_id)) or not header.paid}

    @rule(target=requests, data=st.data(), wanted=st.lists(order_ids, min_size=1, max_size=4, unique=True))
    def take(self, data: st.DataObject, wanted: list[int]) -> dict[int, Any]:
        batch = {order_id: data.draw(st.sampled_from([*self.case.wants, self.case.last])) for order_id in wanted}
        self._take(batch)
        return batch

    @rule(batch=requests)
    def take_again_or_late(self, batch: dict[int, Any]) -> None:
        self._take(batch)

    def _take(self, batch: dict[int, Any]) -> None:
        decisions = self.reservations.deduct(TX, batch)
        expected = [(order_id, self.model.deduct(order_id, want)) for order_id, want in batch.items()]
        assert [(decision.order_id, decision.verdict) for decision in decisions] == expected

    @rule(released=some)
    def give_back(self, released: set[int]) -> None:
        released = self._unpaid(released)
        self.reservations.release(dict.fromkeys(released, TX))
        for order_id in released:
            self.model.release(order_id)

    @rule(fates=st.dictionaries(order_ids, st.sampled_from(["stands", "void", "paid"]), min_size=1))
    def settle(self, fates: dict[int, Any]) -> None:
        voided = self._unpaid({order_id for order_id, fate in fates.items() if fate == "void"})
        told = {order_id: fate for order_id, fate in fates.items() if fate != "void" or order_id in voided}
        states = self.reservations.settle({order_id: (TX, fate) for order_id, fate in told.items()})
        for order_id, fate in told.items():
            self.model.settle(order_id, fate)
        headers = self.model.headers
        assert states == {order_id: headers[order_id].state for order_id in told if order_id in headers}

    @rule()
    def forget(self) -> None:
        assert self.reservations.purge(now_ms() + 1000) == self.model.forget()

    @invariant()
    def amounts_agree(self) -> None:
        assert self.case.free(self.database) == self.model.free()
        used = self.case.used(self.database)
        assert used is None or used == self.model.held(paid=True)

    @invariant()
    def headers_agree(self) -> None:
        headers = self.model.headers
        found = self.reservations.states(range(1, 7))
        assert found == {order_id: ReservationState(header.state) for order_id, header in headers.items()}
        live = {order_id: header for order_id, header in headers.items() if header.state == DEDUCTED}
        assert self._listed(or_verified=True) == sorted(live)
        assert self._listed() == sorted(order_id for order_id, header in live.items() if not header.verified)

    def _listed(self, *, or_verified: bool = False) -> list[int]:
        found = self.reservations.unverified(older_than=2**53, after=0, limit=100, or_verified=or_verified)
        return [reservation.order_id for reservation in found]
