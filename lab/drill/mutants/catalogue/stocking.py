"""Bugs in the stock service."""

from typing import Any

from lab.drill.mutants.mutant import Assign, Edit, Mutant, edited

_TESTS = "tests/unit/test_stock_reservations.py::"
_TOGETHER = "halfmessage.participant.releasing:Releasing.together"


def _ignoring(insert: Any) -> Any:
    """Return an INSERT that passes over rows whose key is there."""
    return insert.prefix_with("OR IGNORE")


MUTANTS = (
    Mutant(
        "reservation-key-not-checked",
        "the same order is deducted as often as it is asked for",
        _TESTS + "test_deduct_again",
        (
            Edit(
                "halfmessage.participant.headers:Headers.__init__",
                (("self._insert = insert(table)", 'self._insert = insert(table).prefix_with("OR IGNORE")'),),
            ),
            Assign("stock.service.pieces:NEW_LINES", _ignoring),
        ),
    ),
    edited(
        "tombstone-not-written",
        "a release that comes before its deduction leaves nothing behind",
        _TESTS + "test_tombstone",
        (_TOGETHER, "if unknown:", "if False:"),
    ),
    edited(
        "released-twice",
        "a release that comes again gives the pieces back again",
        _TESTS + "test_release",
        (_TOGETHER, "if known.get(order_id) is ReservationState.DEDUCTED]", "if order_id in known]"),
    ),
    edited(
        "released-again-one-by-one",
        "a rollback that comes again beside one whose header came in between gives its pieces back again",
        _TESTS + "test_only_what_this_release_moved_is_given_back",
        (
            "halfmessage.participant.releasing:Releasing.singly",
            "give_back(connection, released)",
            "give_back(connection, list(orders))",
        ),
    ),
    edited(
        "released-pieces-lost",
        "a reservation is released, but its pieces are not given back",
        _TESTS + "test_release",
        (_TOGETHER, "self._effect.give_back(connection, live)", "pass"),
    ),
    edited(
        "oversold",
        "pieces are taken that are not there",
        _TESTS + "test_short",
        (
            "stock.service.strategies.in_database:_take_together",
            "if left.get(goods_id, 0) < quantity]",
            "if left.get(goods_id, 0) < 0]",
        ),
    ),
    edited(
        "short-order-leaves-its-header",
        "an order that was short keeps a reservation of nothing",
        _TESTS + "test_short",
        ("halfmessage.participant.deducting:Deducting.together", "chunks(refused, VALUES)", "()"),
    ),
    edited(
        "deduction-after-its-tombstone",
        "a deduction that comes after its release is told `deducted`",
        _TESTS + "test_tombstone",
        ("halfmessage.participant.deducting:Deducting.singly", "known[order_id].value", '"deducted"'),
    ),
    edited(
        "live-reservations-forgotten",
        "what is old is purged although it is live",
        _TESTS + "test_what_was_released_long_ago_is_forgotten",
        (
            "halfmessage.participant.headers:Headers.pages_of_released",
            "(columns.state == ReservationState.RELEASED) & (columns.released_at < before)",
            "(columns.created_at < before)",
        ),
    ),
    edited(
        "void-not-released",
        "the sweep's word that an order is void changes nothing",
        _TESTS + "test_settle",
        ("halfmessage.participant.reservations:Reservations.settle", 'if fate == "void"}', "if False}"),
    ),
    edited(
        "reserved-pieces-withdrawn",
        "pieces that an order holds are withdrawn, and it has none",
        "tests/unit/test_stock_levels.py::test_withdrawn_are_pieces_that_no_order_holds",
        ("stock.service.levels:Levels.withdraw", "stock.c.available >= quantity", "stock.c.total >= quantity"),
    ),
    edited(
        "withdrawn-unseen",
        "an order that read the stock before takes pieces that are withdrawn",
        "tests/unit/test_stock_levels.py::test_withdrawing_is_seen_by_every_way_of_taking_stock",
        ("stock.service.levels:Levels.withdraw", "stock.c.version + 1", "stock.c.version"),
    ),
)
