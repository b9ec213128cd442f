"""Bugs in the stores of a flash sale's pieces."""

from lab.drill.mutants.mutant import Assign, Mutant, edited

_TESTS = "tests/contract/test_pieces.py::"
_DATABASE = "flash.pieces.in_database:DatabasePieces"
_TAKING = "flash.pieces.taking:Taking._answer"
_ROWS = "flash.pieces.purchase_rows:PurchaseRows"
_SALES = "flash.pieces.sale_rows:SaleRows"


def _lua(text: str, instead: str) -> tuple[Assign]:
    """Change a text of the scripts: all of them are read through one function."""
    return (Assign("flash.pieces.scripts:text_of", lambda read: lambda part: read(part).replace(text, instead)),)


MUTANTS = (
    edited(
        "pieces-oversold",
        "one more is sold than is left",
        _TESTS + "TestTaking::test_sells_what_there_is",
        (_TAKING, "buyer.quantity > self.left", "buyer.quantity > self.left + 1"),
    ),
    edited(
        "pieces-per-user-in-a-call",
        "a user who is named twice in a call gets more than one may have",
        _TESTS + "TestTaking::test_one_user",
        (_TAKING, "self.had[buyer.user_id] = (pieces + buyer.quantity, first)", "pass"),
    ),
    edited(
        "pieces-late-take",
        "a transaction that the checker may have given up, and the store forgotten, takes",
        _TESTS + "TestFence::test_too_late",
        (f"{_DATABASE}._take", "abs(now - issued_at(tx_id)) >= self._within_ms", "False"),
    ),
    edited(
        "pieces-checker-unfenced",
        "the checker answers without writing that it did",
        _TESTS + "TestFence::test_checker_first",
        (f"{_DATABASE}._decide", "self._sales.add_record(connection, tx_id, Outcome.ABORTED)", "pass"),
    ),
    edited(
        "pieces-checker-too-early",
        "the checker gives up who is still at work",
        _TESTS + "TestFence::test_too_early_to_decide",
        (f"{_DATABASE}._decide", "abs(age) < self._within_ms", "False"),
    ),
    edited(
        "pieces-returned-twice",
        "a purchase that is given back again brings its pieces again",
        _TESTS + "TestReturning::test_once",
        (f"{_ROWS}.settle", "known[one].state in from_", "True"),
    ),
    edited(
        "pieces-no-tombstone",
        "a purchase that was given back before it was known is taken later",
        _TESTS + "TestReturning::test_before_it_was_taken",
        (f"{_ROWS}.settle", "if new:", "if new and state is PurchaseState.HELD:"),
    ),
    edited(
        "pieces-end-taken-back",
        "a sale that was ended sells again under new terms",
        _TESTS + "TestTimes::test_end",
        (f"{_SALES}.put", '"per_user")', '"per_user", "is_ended")'),
    ),
    edited(
        "pieces-ready-too-early",
        "a sale that is being rebuilt sells",
        _TESTS + "TestRebuilding::test_from_nothing",
        (f"{_DATABASE}._take", "sale is None or not sale.is_ready", "sale is None"),
    ),
    edited(
        "pieces-scripts-not-sent-again",
        "a Redis that was flushed is of no use any more",
        "tests/contract/test_pieces_lost.py::test_scripts_flushed",
        ("flash.pieces.scripts:Script.__call__", "return client.eval(", "raise RuntimeError("),
    ),
    Mutant(
        "pieces-oversold-in-redis",
        "one more is sold than is left",
        "tests/contract/test_pieces_lost.py::test_emptied",
        _lua("quantity > left then", "quantity > left + 1 then"),
    ),
    Mutant(
        "pieces-checker-unfenced-in-redis",
        "the checker answers without writing that it did",
        "tests/contract/test_pieces_lost.py::test_scripts_flushed",
        _lua("redis.call('SET', KEYS[5], 'aborted', 'PX', keep_ms)", ""),
    ),
)
