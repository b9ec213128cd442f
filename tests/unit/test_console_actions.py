"""What people did through the console: written down before, once for each form, kept for a while."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import update

from common import migrations
from common.db import Database
from common.errors import Malformed, PeerUnavailable
from console.clients.services import Refused
from console.model import actions as table
from console.service.actions import Action, Actions, Asked, Outcome, SentBefore
from console.service.doing import Doing, why_of
from halfmessage.errors import DatabaseUnavailable


class Numbers:
    """Ids in turn."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def next(self) -> int:
        return next(self._numbers)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/console.db"
    migrations.upgrade("console", url)
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def actions(database: Database) -> Actions:
    return Actions(database, Numbers())


def asked(batch: int = 1, *what: str) -> Asked:
    return Asked(batch, "root", "resend", what or ("A",), "stock was down")


def only(found: list[Action]) -> Action:
    (action,) = found
    return action


def test_it_is_written_before_and_its_outcome_after(actions: Actions) -> None:
    """Who, what and why are there while it is under way; a console that died meanwhile leaves that."""
    (action_id,) = actions.begin(asked()).values()
    begun = only(actions.of("A"))
    assert (begun.who, begun.action, begun.why, begun.outcome) == ("root", "resend", "stock was down", Outcome.BEGUN)
    actions.end(action_id, Outcome.DONE, "x" * 2000)
    actions.seen(action_id)
    ended = only(actions.of("A"))
    assert (ended.outcome, len(ended.detail)) == (Outcome.DONE, 1024)
    assert ended.effect_at is not None
    assert ended.effect_at >= ended.at


def test_a_form_is_sent_once(actions: Actions) -> None:
    """For the same thing; another form does it again, and what was sent is found by its form."""
    actions.begin(asked(1, "A", "B", "A"))
    with pytest.raises(SentBefore):
        actions.begin(asked(1, "C", "B"))
    assert [action.what for action in actions.of_batch(1)] == ["B", "A"]
    assert actions.of("C") == []
    actions.begin(asked(2, "A"))
    assert [action.batch for action in actions.of("A")] == [2, 1]
    assert [action.what for action in actions.recent({"resend"})] == ["A", "B", "A"]
    assert actions.recent({"resume"}) == []


def test_old_actions_are_purged(actions: Actions, database: Database) -> None:
    """By age, and no other."""
    actions.begin(asked(1, *map(str, range(700))))
    actions.begin(asked(2))
    database.transact(lambda c: c.execute(update(table).where(table.c.batch == 1).values(at=5)))
    assert actions.purge(6) == 700
    assert only(actions.recent({"resend"})).batch == 2


@pytest.mark.parametrize(
    ("raised", "outcome", "told"),
    [
        (None, Outcome.DONE, ""),
        (Refused("live reservations exceed it"), Outcome.REFUSED, "live reservations exceed it"),
        (PeerUnavailable(), Outcome.UNKNOWN, "it may have been done"),
    ],
)
def test_how_a_call_ended(actions: Actions, raised: Exception | None, outcome: Outcome, told: str) -> None:
    """Done, refused with the service's words, or not known: then it is not told that nothing happened."""

    def call(key: str) -> None:
        assert key == "console-1"
        if raised is not None:
            raise raised

    Doing(actions).once(asked(), call)
    action = only(actions.of("A"))
    assert action.outcome is outcome
    assert told in action.detail
    assert "nothing was changed" not in action.detail


@pytest.mark.parametrize(("first", "calls"), [(None, 1), (Refused("no"), 1), (PeerUnavailable(), 2)])
def test_a_form_that_is_sent_twice_is_done_once(actions: Actions, first: Exception | None, calls: int) -> None:
    """Where it is not known whether it was done, it is asked for again under the same key, and by one action."""
    keys: list[str] = []

    def call(key: str) -> None:
        keys.append(key)
        if len(keys) == 1 and first is not None:
            raise first

    doing = Doing(actions)
    doing.once(asked(), call)
    doing.once(asked(), call)
    assert keys == ["console-1"] * calls
    only(actions.of("A"))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Asked(1, "root", "retry", ("A",), ""), Asked(1, "root", "give up", ("A",), "broken")),
        (Asked(1, "root", "retry", ("A",), ""), Asked(1, "eve", "retry", ("A",), "")),
        (Asked(1, "root", "restock 5", ("A",), ""), Asked(1, "root", "restock 7", ("A",), "")),
        (Asked(1, "root", "skip refund", ("A",), "by hand"), Asked(1, "root", "skip refund", ("A",), "lost")),
    ],
)
@pytest.mark.parametrize("error", [None, PeerUnavailable()])
def test_a_form_is_good_for_what_it_asked_first(
    actions: Actions, first: Asked, then: Asked, error: Exception | None
) -> None:
    """Whatever became of that: something else, or somebody else, is refused, and what is written down stays."""
    calls: list[str] = []

    def call(key: str) -> None:
        calls.append(key)
        if error is not None:
            raise error

    doing = Doing(actions)
    doing.once(first, call)
    before = only(actions.of("A"))
    with pytest.raises(Malformed, match="sent before for something else"):
        doing.once(then, call)
    assert calls == ["console-1"]
    assert only(actions.of("A")) == before


def test_a_form_of_two_things_is_told_apart(actions: Actions) -> None:
    """Sent again for the second of them, it finds that one's outcome."""
    calls: list[str] = []
    for what in ("A", "B", "A", "B"):
        Doing(actions).once(asked(1, what), calls.append)
    assert len(calls) == 2


def test_what_was_done_is_done_where_its_end_can_t_be_written_down(
    actions: Actions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told that nothing was changed: it stays begun."""

    def refuse(*_: object, **__: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(Actions, "_change", refuse)
    calls: list[str] = []
    Doing(actions).once(asked(), calls.append)
    assert calls == ["console-1"]
    assert only(actions.of("A")).outcome is Outcome.BEGUN


@pytest.mark.parametrize("text", ["", " \n ", "x" * 201])
def test_a_reason_is_required_and_bounded(text: str) -> None:
    """One line of 1 to 200 characters."""
    with pytest.raises(Malformed, match="Nothing was done"):
        why_of(text)


def test_a_reason_is_one_line() -> None:
    """Where it is not required, it may be empty."""
    assert why_of(" stock\n  was down ") == "stock was down"
    assert why_of("", required=False) == ""
