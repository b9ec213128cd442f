"""Messages that lie still, sent on: dead letters are resent to their groups, parked half messages are checked again.

First it is told what would be done to each, then it is done: what somebody asks for is written down before, its outcome
after. Whether it had an effect is told by the consumer's progress alone, whenever the list of actions is looked at.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from console.clients.broker import Messages
from console.service.actions import Action, Actions, Asked, Outcome
from halfmessage.errors import BrokerError, HalfMessageError, MessageNotFound
from halfmessage.mq.port import Console, MessageView, Resolution, State

MOST: Final = 500  # messages sent on at once
WITHIN: Final = 20.0  # seconds for all of them: who sent the form waits for its answer
_FOLLOWED: Final = 20  # actions of one look whose effect is looked for: each is a search


class Way(StrEnum):
    """How a message is sent on."""

    RESEND = "resend"
    RESUME = "resume"


LIES: Final = {Way.RESEND: State.DEAD, Way.RESUME: State.PARKED}
"""What is sent on in which way."""
_GONE: Final = {
    Way.RESEND: "It is no dead letter (any more): nothing is done.",
    Way.RESUME: "It is not parked (any more): nothing is done.",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What will be done to a message; `view` None: the broker has none with this id, or was not asked in time."""

    message_id: str
    view: MessageView | None
    will: str
    is_possible: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of a message that was sent on. `is_bad`: somebody has to look at it again."""

    words: str
    is_seen: bool = False
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """An action, and its effect as far as it is known."""

    action: Action
    effect: Effect | None


class Letters:
    """Sends on what lies still at one broker."""

    def __init__(
        self,
        messages: Messages,
        actions: Actions,
        *,
        within: float = WITHIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the broker, where actions are written down, and the seconds that all of a form may take."""
        self._messages, self._actions, self._within, self._clock = messages, actions, within, clock

    def plan_all(self, way: Way) -> list[Step]:
        """Return what will be done to the newest `MOST` that lie there, and do nothing. Raise `BrokerError`."""
        return [step_of(way, view) for view in self._messages.console().find(state=LIES[way], limit=MOST)]

    def plan(self, way: Way, message_ids: Sequence[str]) -> list[Step]:
        """Return what will be done to each, and do nothing. Raise `BrokerError`."""
        console, until = self._messages.console(), self._clock() + self._within
        return [self._step(console, way, message_id, until) for message_id in dict.fromkeys(message_ids)]

    def send_on(self, way: Way, asked: Asked) -> None:
        """Send on what is `asked`, each as long as there is time; every outcome is written down.

        Raise `SentBefore` where this form was sent already, `BrokerError` where the broker can't be reached: then
        nothing was done, or written.
        """
        console = self._messages.console()
        until = self._clock() + self._within
        for message_id, action_id in self._actions.begin(asked).items():
            if self._clock() > until:
                outcome, detail = Outcome.LEFT, f"Not done: the {self._within:g} s for one form were over."
            else:
                outcome, detail = _done(console, way, message_id)
            self._actions.end(action_id, outcome, detail)
            structlog.get_logger().info(
                "message sent on", way=way, message_id=message_id, who=asked.who, outcome=outcome.value
            )

    def told(self, done: Sequence[Action]) -> list[Told]:
        """Return actions, the last first, with the effect of those that had, or may have, one.

        An effect that was seen is written down, and not looked for again. What the broker does not tell is told so.
        """
        later: set[str] = set()
        looks, told = 0, []
        for action in done:
            effect = None
            if action.effect_at is None and action.action in set(Way) and action.outcome in _MAY_HAVE:
                if action.what in later:
                    effect = Effect("It was sent on again later.")
                elif looks < _FOLLOWED:
                    looks += 1
                    effect = self._follow(action)
                else:
                    effect = Effect("Not looked for here: open the message.")
            later.add(action.what)
            told.append(Told(action, effect))
        return told

    def _step(self, console: Console, way: Way, message_id: str, until: float) -> Step:
        if self._clock() > until:
            return Step(message_id, None, "Not looked at: there was no time left. Choose fewer.", is_possible=False)
        found = console.find(message_id=message_id, limit=1)
        if not found:
            return Step(message_id, None, "The broker has no message with this id.", is_possible=False)
        return step_of(way, found[0])

    def _follow(self, action: Action) -> Effect:
        try:
            found = self._messages.console().find(message_id=action.what, limit=1)
        except BrokerError as error:
            return Effect(f"Not known, as the broker does not tell: {error.detail}")
        if not found:
            return Effect("Not known: the broker keeps this message no more.")
        effect = effect_of(Way(action.action), found[0])
        if effect.is_seen:
            self._actions.seen(action.action_id)
        return effect


_MAY_HAVE: Final = frozenset({Outcome.BEGUN, Outcome.DONE, Outcome.UNKNOWN})


def step_of(way: Way, view: MessageView) -> Step:
    """Return what sending a message on in this way will do."""
    if way is Way.RESEND:
        dead = [group.group for group in view.groups if group.state is State.DEAD]
        will, is_possible = f"Given again to {', '.join(dead)}, its deliveries counted anew.", bool(dead)
    else:
        will, is_possible = (
            f"{view.producer_group or 'Its producers'} will be asked again how it ended, its checks counted anew.",
            view.state is State.PARKED,
        )
    return Step(view.message_id, view, will if is_possible else _GONE[way], is_possible)


def effect_of(way: Way, view: MessageView) -> Effect:
    """Return what became of a message that was sent on."""
    if view.state is State.DONE:
        return Effect("; ".join(_ends(view)), is_seen=True)
    if view.state is State.DEAD:
        dead = ", ".join(group.group for group in view.groups if group.state is State.DEAD)
        return Effect(f"Still dead, or dead again, to {dead}.", is_bad=True)
    if view.state is State.PARKED:
        return Effect("Still parked, or parked again: the broker asks no more.", is_bad=True)
    if view.state is State.HALF:
        return Effect(f"It is being checked: {view.check_count} times so far.")
    if way is Way.RESUME:
        return Effect("Committed, and on its way to its groups.")
    under_way = ", ".join(f"{group.group}: attempt {group.attempts}" for group in view.groups if _is_open(group.state))
    return Effect(f"On its way again ({under_way}).")


def _is_open(state: State) -> bool:
    return state is not State.DONE


def _ends(view: MessageView) -> Iterator[str]:
    if view.resolution is Resolution.ROLLBACK:
        yield "Rolled back: dropped, and given to no consumer"
    for group in view.groups:
        yield f"Done at {group.group} in attempt {group.attempts}"


def _done(console: Console, way: Way, message_id: str) -> tuple[Outcome, str]:
    """Send one on; return how that ended."""
    try:
        if way is Way.RESEND:
            console.resend(message_id)
            return Outcome.DONE, "Given to its groups again."
        console.resume(message_id)
    except MessageNotFound:
        return Outcome.NOTHING, _GONE[way]
    except HalfMessageError as error:
        return Outcome.UNKNOWN, f"The broker did not say whether it was done: {error.detail}"
    return Outcome.DONE, "It is checked again."
