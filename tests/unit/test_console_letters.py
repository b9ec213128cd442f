"""Messages that lie still, sent on: told before, written down, and followed to the consumer."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common import migrations
from common.db import Database
from console.clients.broker import Messages
from console.service.actions import Action, Actions, Asked, Outcome, SentBefore
from console.service.letters import Effect, Letters, Step, Way, effect_of
from halfmessage.errors import BrokerError
from halfmessage.mq.port import CheckAnswer, GroupView, Message, MessageView, Resolution, State, Verdict
from tests.support import eventually
from tests.unit.console_letters import GROUP, Lying
from tests.unit.test_console_actions import Numbers

RESEND, RESUME = Way.RESEND, Way.RESUME


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Lying]:
    made = Lying(tmp_path)
    yield made
    made.close()


@pytest.fixture
def actions(tmp_path: Path) -> Iterator[Actions]:
    url = f"sqlite:///{tmp_path}/console.db"
    migrations.upgrade("console", url)
    database = Database(url)
    yield Actions(database, Numbers())
    database.close()


def letters_of(lying: Lying, actions: Actions, **options: Any) -> Letters:
    return Letters(Messages(lambda: lying.broker), actions, **options)


def asked(*ids: str, way: Way = RESEND, batch: int = 1) -> Asked:
    return Asked(batch, "root", way.value, ids, "mended")


def steps(found: list[Step]) -> list[tuple[str, bool]]:
    return [(step.message_id, step.is_possible) for step in found]


def outcomes(actions: Actions, batch: int = 1) -> dict[str, Outcome]:
    return {action.what: action.outcome for action in actions.of_batch(batch, 500)}


def test_a_dry_run_tells_each_and_does_nothing(lying: Lying, actions: Actions) -> None:
    """To whom it will be given, or why nothing will be done; nothing is sent, and nothing written down."""
    dead, parked, letters = lying.dead(), lying.parked(), letters_of(lying, actions)
    given, lying.answer = len(lying.got), Verdict.ACK
    found = letters.plan(RESEND, [dead, parked, "0" * 16, dead])
    assert steps(found) == [(dead, True), (parked, False), ("0" * 16, False)]
    assert found[0].will == f"Given again to {GROUP}, its deliveries counted anew."
    assert "no dead letter" in found[1].will
    assert steps(letters.plan(RESUME, [dead, parked])) == [(dead, False), (parked, True)]
    assert steps(letters.plan_all(RESEND)) == [(dead, True)]
    assert steps(letters.plan_all(RESUME)) == [(parked, True)]
    assert (lying.view(dead).state, lying.view(parked).state, len(lying.got)) == (State.DEAD, State.PARKED, given)
    assert actions.recent(set(Way)) == []


def test_each_outcome_is_written_down_with_who_and_why(lying: Lying, actions: Actions) -> None:
    """Done, or nothing to do; the effect is seen at the consumer, and kept."""
    dead, letters, lying.answer = lying.dead(), letters_of(lying, actions), Verdict.ACK
    letters.send_on(RESEND, asked(dead, "0" * 16))
    assert outcomes(actions) == {dead: Outcome.DONE, "0" * 16: Outcome.NOTHING}
    assert {(action.who, action.why) for action in actions.of_batch(1)} == {("root", "mended")}
    lying.until(dead, State.DONE)
    (told,) = letters.told(actions.of(dead))
    assert told.effect == Effect(f"Done at {GROUP} in attempt 1", is_seen=True)
    (told,) = letters.told(actions.of(dead))
    assert (told.effect, told.action.effect_at is not None) == (None, True)


def test_a_form_that_is_sent_twice_resends_once(lying: Lying, actions: Actions) -> None:
    """Also where the message died again in between."""
    dead, letters = lying.dead(), letters_of(lying, actions)
    letters.send_on(RESEND, asked(dead))
    lying.until(dead, State.DEAD)
    eventually(lambda: len(lying.got) == 4, within=20)
    with pytest.raises(SentBefore):
        letters.send_on(RESEND, asked(dead))
    lying.until(dead, State.DEAD)
    assert len(lying.got) == 4
    (told,) = letters.told(actions.of(dead))
    assert told.effect == Effect(f"Still dead, or dead again, to {GROUP}.", is_bad=True)


def test_a_parked_half_message_is_resumed(lying: Lying, actions: Actions) -> None:
    """It is checked again, and ends as the check-back says."""
    parked, letters, lying.check = lying.parked(), letters_of(lying, actions), CheckAnswer.ROLLBACK
    letters.send_on(RESUME, asked(parked, way=RESUME))
    lying.until(parked, State.DONE)
    (told,) = letters.told(actions.of(parked))
    assert told.effect == Effect("Rolled back: dropped, and given to no consumer", is_seen=True)
    assert outcomes(actions) == {parked: Outcome.DONE}


def test_the_time_for_one_form_is_bounded(lying: Lying, actions: Actions) -> None:
    """What there is no time for is left, and says so; a dry run likewise."""
    times = iter([0.0, 1.0, 30.0, 0.0, 1.0, 30.0])
    letters = letters_of(lying, actions, clock=lambda: next(times))
    letters.send_on(RESEND, asked("0" * 15 + "1", "0" * 15 + "2"))
    assert list(outcomes(actions).values()) == [Outcome.LEFT, Outcome.NOTHING]
    found = letters.plan(RESEND, ["0" * 15 + "1", "0" * 15 + "2"])
    assert ["no time left" in step.will for step in found] == [False, True]


class Away:
    """A broker's console that fails."""

    def find(self, **_: object) -> list[MessageView]:
        raise BrokerError("gone")

    def resend(self, _: str) -> None:
        raise BrokerError("gone")


def test_a_broker_that_fails_leaves_the_outcome_unknown(actions: Actions) -> None:
    """It may have been done; the effect can't be told either, and the page with it is still there."""
    away = cast("Messages", SimpleNamespace(console=Away))
    letters = Letters(away, actions)
    letters.send_on(RESEND, asked("A"))
    assert outcomes(actions) == {"A": Outcome.UNKNOWN}
    (told,) = letters.told(actions.of("A"))
    assert told.effect == Effect("Not known, as the broker does not tell: gone")


def test_effects_of_earlier_actions_are_not_those_of_later_ones(lying: Lying, actions: Actions) -> None:
    """The last one is followed, those before it say so; only so many are looked for, none where nothing was done."""
    dead, letters = lying.dead(), letters_of(lying, actions)
    for batch in (1, 2):
        letters.send_on(RESEND, asked(dead, batch=batch))
        lying.until(dead, State.DEAD)
    last, before = letters.told(actions.of(dead))
    assert (last.effect and last.effect.is_bad, before.effect) == (True, Effect("It was sent on again later."))
    many = [Action(n, 3, 0, "root", "resend", f"{n:016X}", "", Outcome.DONE, "", None) for n in range(9000, 9030)]
    told = [one.effect for one in letters.told(many)]
    assert told[:20] == [Effect("Not known: the broker keeps this message no more.")] * 20
    assert told[20:] == [Effect("Not looked for here: open the message.")] * 10
    nothing = [Action(1, 3, 0, "root", "resend", "A", "", Outcome.NOTHING, "", None)]
    assert letters.told(nothing)[0].effect is None


def view(state: State, *groups: tuple[str, State, int], resolution: Resolution | None = None) -> MessageView:
    seen = tuple(GroupView(name, group_state, attempts, 0, None) for name, group_state, attempts in groups)
    return MessageView("A", Message("t", b""), state, "order", 0, None, resolution, None, (), 2, seen)


@pytest.mark.parametrize(
    ("way", "seen", "words"),
    [
        (RESUME, view(State.HALF), "It is being checked: 2 times so far."),
        (RESUME, view(State.PARKED), "Still parked, or parked again: the broker asks no more."),
        (RESUME, view(State.READY, ("stock", State.READY, 0)), "Committed, and on its way to its groups."),
        (
            RESEND,
            view(State.READY, ("coupon", State.DONE, 1), ("stock", State.READY, 3)),
            "On its way again (stock: attempt 3).",
        ),
        (
            RESEND,
            view(State.DONE, ("coupon", State.DONE, 1), ("stock", State.DONE, 2), resolution=Resolution.COMMIT),
            "Done at coupon in attempt 1; Done at stock in attempt 2",
        ),
    ],
)
def test_an_effect_is_told_as_far_as_it_is(way: Way, seen: MessageView, words: str) -> None:
    """In the words of what the broker tells."""
    assert effect_of(way, seen).words == words
