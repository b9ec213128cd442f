"""A crowd of buyers: each tries until it knows what it got, and all of it is told."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from click.testing import CliRunner

from ops.buyers import Buyer, Crowd
from ops.client import Answer, Client, Unreachable
from ops.commands.demo import command
from ops.flash_demo import words_of

Script = Callable[[str, int], Answer | None]
"""Answers the try number n (from 1) of a buyer; None: the connection is cut."""


class Shop:
    """Stands for the client of a deployment, and answers as a script says."""

    def __init__(self, script: Script) -> None:
        self._script, self._lock = script, threading.Lock()
        self.tries: Counter[str] = Counter()

    def ask(self, service: str, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        assert (service, method, path) == ("flash", "POST", "/flash-sales/7/orders")
        name = headers["Authorization"].removeprefix("Bearer token of ")
        with self._lock:
            self.tries[name] += 1
            number = self.tries[name]
        answer = self._script(name, number)
        if answer is None:
            raise Unreachable("no answer")
        return answer


def taken(name: str) -> Answer:
    return Answer(202, {}, {"location": f"/order-requests/{name}"})


def problem(slug: str, status: int = 409, **members: Any) -> Answer:
    return Answer(status, {"type": f"/problems/{slug}", **members}, {})


def crowd(script: Script, at_once: int = 4, taken_in: Callable[[int], None] = lambda _: None) -> tuple[Crowd, Shop]:
    shop = Shop(script)
    return Crowd(cast("Client", shop), "7", at_once=at_once, taken_in=taken_in), shop


def buyers(*names: str) -> list[Buyer]:
    return [Buyer(name, f"token of {name}") for name in names]


def test_each_buyer_is_answered_once() -> None:
    """In its own name, and who is told that it is sold out is none of those who got something."""
    numbers: list[int] = []
    script: Script = lambda name, _: taken(name) if name in {"a", "c"} else problem("sold-out")  # noqa: E731
    buying, shop = crowd(script, taken_in=numbers.append)
    with buying.buying(buyers(*"abcdefgh")) as all_answered:
        assert all_answered(10.0)
    assert {where: buyer.name for where, buyer in buying.tally.taken_in.items()} == {
        "/order-requests/a": "a", "/order-requests/c": "c",
    }  # fmt: skip
    assert sorted(buyer.name for buyer in buying.tally.refused) == list("bdefgh")
    assert (buying.tally.answered, buying.tally.strange, buying.tally.tries_again) == (8, [], {})
    assert set(shop.tries.values()) == {1}
    assert sorted(numbers) == [1, 2]


@pytest.mark.parametrize(
    ("first", "why"), [(None, "no answer"), (problem("outcome-unknown", 503), "503 outcome-unknown")]
)
def test_a_try_whose_end_is_unknown_is_made_again(first: Answer | None, why: str) -> None:
    """Where it had succeeded, the second is told so, and where the purchase is."""
    where = "/order-requests/a"
    buying, shop = crowd(lambda _, number: first if number == 1 else problem("already-bought", location=where))
    with buying.buying(buyers("a")) as all_answered:
        assert all_answered(10.0)
    assert buying.tally.taken_in.keys() == {where}
    assert buying.tally.tries_again == {why: 1}
    assert shop.tries == {"a": 2}


def test_an_answer_that_no_buyer_should_get_is_told() -> None:
    """Its buyer does not count as answered."""
    buying, _ = crowd(lambda name, _: Answer(500, {"type": "/problems/internal"}, {}) if name == "a" else taken(name))
    with buying.buying(buyers("a", "b")) as all_answered:
        assert all_answered(10.0)
    assert buying.tally.strange == ["a: 500 internal"]
    assert buying.tally.answered == 1


def test_buyers_give_up_when_it_is_over() -> None:
    """They do not try for ever, and the next ones do not begin."""
    buying, shop = crowd(lambda *_: problem("unavailable", 503), at_once=2)
    with buying.buying(buyers(*"abcdef")) as all_answered:
        assert not all_answered(0.05)
    assert shop.tries.keys() == {"a", "b"}
    assert buying.tally.answered == 0


def test_what_goes_wrong_in_a_buyer_s_thread_is_raised() -> None:
    """As where Redis can't be killed: no buyer waits for it."""

    def fail(_: int) -> None:
        raise ValueError("not killed")

    buying, _ = crowd(lambda name, _: taken(name), taken_in=fail)
    with pytest.raises(ValueError, match="not killed"), buying.buying(buyers(*"abc")) as all_answered:
        all_answered(10.0)


def test_how_a_purchase_ended() -> None:
    """A refusal is named by its problem."""
    assert words_of({"state": "created"}) == "created"
    assert words_of({"state": "refused", "problem": {"type": "/problems/sold-out"}}) == "refused: sold-out"


def test_fewer_buyers_than_pieces_are_refused() -> None:
    """They could not sell it out: the command says so before it starts anything."""
    told = CliRunner().invoke(command, ["--flash", "--buyers", "9", "--pieces", "10"])
    assert told.exit_code == 2
    assert "9 buyers would leave some of 10 pieces" in told.output
