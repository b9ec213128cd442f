"""A sale's life in any order of steps, beside a model of it that is as simple as can be."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flash.pieces.port import Buyer, Purchase, PurchaseState, Verdict
from halfmessage.tx.record import Outcome
from tests.contract.pieces.shop import Shop, new_id, verdicts

_USERS = ("a", "b", "c", "d")
_SLOTS = st.integers(0, 11)
_OLD = 11.0  # seconds


@dataclass
class Known:
    """What a store should know of one purchase."""

    buyer: Buyer
    state: PurchaseState


@dataclass
class Model:
    """What a store should say."""

    quantity: int
    per_user: int
    is_ended: bool = False
    known: dict[int, Known] = field(default_factory=dict)
    aborted: int = 0

    def had(self, user_id: str) -> int:
        """Return how many pieces a user has."""
        return sum(one.buyer.quantity for one in self.having() if one.buyer.user_id == user_id)

    def having(self) -> list[Known]:
        """Return the purchases that have pieces."""
        return [one for one in self.known.values() if one.state is not PurchaseState.RETURNED]

    @property
    def pieces(self) -> int:
        """What they have."""
        return sum(one.buyer.quantity for one in self.having())

    def take(self, buyer: Buyer) -> Verdict:
        """Say what a buyer gets, and remember it."""
        if buyer.purchase_id in self.known:
            return Verdict.ABORTED
        if self.is_ended:
            return Verdict.ENDED
        if self.had(buyer.user_id) + buyer.quantity > self.per_user:
            return Verdict.ALREADY_BOUGHT if self.had(buyer.user_id) else Verdict.OVER_LIMIT
        if buyer.quantity > self.quantity - self.pieces:
            return Verdict.SOLD_OUT
        self.known[buyer.purchase_id] = Known(buyer, PurchaseState.TAKEN)
        return Verdict.TAKEN

    def hold(self, buyer: Buyer) -> bool:
        """Remember that a purchase is held; return whether it was not known."""
        if buyer.purchase_id not in self.known:
            self.known[buyer.purchase_id] = Known(buyer, PurchaseState.HELD)
            return True
        one = self.known[buyer.purchase_id]
        if one.state is PurchaseState.TAKEN:
            one.state = PurchaseState.HELD
        return False

    def give_back(self, buyer: Buyer) -> bool:
        """Remember that a purchase came back; return whether it brought anything."""
        one = self.known.setdefault(buyer.purchase_id, Known(buyer, PurchaseState.RETURNED))
        brings = one.state is not PurchaseState.RETURNED
        one.state = PurchaseState.RETURNED
        return brings


class Steps(RuleBasedStateMachine):
    """What may happen to a sale."""

    def __init__(self, shop: Shop) -> None:
        """Take a new sale."""
        super().__init__()
        self.shop, self.store = shop, shop.pieces
        self.model = Model(shop.terms.quantity, shop.terms.per_user)
        self.buyers = [Buyer(new_id(), _USERS[number % 4], 1 + number % 3 // 2) for number in range(12)]

    @rule(slots=st.lists(_SLOTS, max_size=4))
    def take(self, slots: list[int]) -> None:
        """Have some buy together; the same may come twice."""
        buyers = [self.buyers[slot] for slot in slots]
        assert verdicts(self.shop.take(*buyers)) == [self.model.take(one) for one in buyers]

    @rule(slots=st.lists(_SLOTS, max_size=4))
    def hold(self, slots: list[int]) -> None:
        """Have some held."""
        buyers = [self.buyers[slot] for slot in slots]
        assert self.store.hold(self.shop.sale_id, buyers) == [self.model.hold(one) for one in buyers]

    @rule(slots=st.lists(_SLOTS, max_size=4))
    def give_back(self, slots: list[int]) -> None:
        """Bring some back."""
        buyers = [self.buyers[slot] for slot in slots]
        assert self.store.give_back(self.shop.sale_id, buyers) == [self.model.give_back(one) for one in buyers]

    @rule(quantity=st.integers(1, 8))
    def change(self, quantity: int) -> None:
        """There are more or fewer pieces."""
        self.shop.change(quantity=quantity)
        self.model.quantity = quantity

    @rule(slots=st.lists(_SLOTS, max_size=4), states=st.lists(st.sampled_from(["held", "returned"]), min_size=4))
    def rebuild(self, slots: list[int], states: list[str]) -> None:
        """Tell the rows, or what were the rows once."""
        rows = {slot: PurchaseState(state) for slot, state in zip(slots, states, strict=False)}
        held = [slot for slot, state in rows.items() if state is PurchaseState.HELD]
        back = [slot for slot, state in rows.items() if state is PurchaseState.RETURNED]
        wrong = sum(self.model.hold(self.buyers[slot]) for slot in held)
        wrong += sum(self.model.give_back(self.buyers[slot]) for slot in back)
        told = [
            Purchase(self.buyers[slot].purchase_id, self.buyers[slot].user_id, self.buyers[slot].quantity, state)
            for slot, state in rows.items()
        ]
        assert self.shop.rebuild(told) == wrong

    @rule()
    def decide(self) -> None:
        """Have the checker give an old transaction up."""
        assert self.store.decide(self.shop.sale_id, new_id(age=_OLD)) is Outcome.ABORTED
        self.model.aborted += 1

    @rule(chance=st.integers(0, 9))
    def end(self, chance: int) -> None:
        """Now and then a sale is ended."""
        if not chance:
            self.store.end(self.shop.sale_id)
            self.model.is_ended = True

    @invariant()
    def agrees(self) -> None:
        """Whatever happened, the store says what the model says."""
        look, totals = self.store.look(self.shop.sale_id, _USERS), self.shop.totals
        assert look is not None
        assert look.left == max(0, self.model.quantity - self.model.pieces)
        assert look.bought.keys() == {user for user in _USERS if self.model.had(user)}
        states = [one.state for one in self.model.known.values()]
        counts = [states.count(state) for state in PurchaseState]
        assert [totals.taken, totals.held, totals.returned] == counts
        assert (totals.quantity, totals.pieces, totals.aborted) == (
            *(self.model.quantity, self.model.pieces),
            self.model.aborted,
        )
        found = {one.purchase_id: one.state for one in self.store.purchases(self.shop.sale_id)}
        assert found == {purchase_id: one.state for purchase_id, one in self.model.known.items()}
        still_open = self.store.open_purchases(self.shop.sale_id, before=new_id())
        assert [one.purchase_id for one in still_open] == sorted(
            purchase_id for purchase_id, one in self.model.known.items() if one.state is PurchaseState.TAKEN
        )


def steps_of(shop: Shop) -> Any:
    """Return the steps of one sale."""
    return Steps(shop)
