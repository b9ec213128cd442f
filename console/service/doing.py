"""Things done through a service with the viewer's token: written down before, once for each form, and told after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from common.errors import Malformed
from console.clients.services import Refused
from console.service.actions import LONGEST_WHY, Actions, Asked, Outcome, SentBefore
from halfmessage.errors import ConsoleUnavailable, MessageNotFound, NotFound, Unavailable

_NOT_SURE: Final = frozenset({Outcome.BEGUN, Outcome.UNKNOWN})
_LOST: Final = "No answer came: it may have been done. Look first; what is sent again from here is done once at most."


@dataclass(frozen=True, slots=True)
class Doing:
    """Does one thing for one form."""

    actions: Actions

    def once(self, asked: Asked, call: Callable[[str], object]) -> None:
        """Do what is `asked` by `call`, which gets the Idempotency-Key of the form; write down how it ended.

        What `call` returns as text is written down beside it.

        A form that is sent again does nothing more, unless it is not known whether it did: then it is called again
        under the same key. A `call` that takes no key must be one that may be repeated.

        Raise `Malformed` where the form was sent before for something else.
        """
        (what,) = asked.what
        try:
            action_id = self.actions.begin(asked)[what]
        except SentBefore:
            before = next(one for one in self.actions.of_batch(asked.batch) if one.what == what)
            if before.outcome not in _NOT_SURE:
                return
            action_id = before.action_id
        outcome, detail = _outcome(lambda: call(f"console-{asked.batch}"))
        self.actions.end(action_id, outcome, detail)


def why_of(text: str, *, required: bool = True) -> str:
    """Return a reason as it is written down. Raise `Malformed`."""
    why = " ".join(text.split())
    if len(why) > LONGEST_WHY or (required and not why):
        raise Malformed(f"Say why, in 1 to {LONGEST_WHY} characters. Nothing was done.")
    return why


def _outcome(call: Callable[[], object]) -> tuple[Outcome, str]:
    try:
        said = call()
    except MessageNotFound as error:
        return Outcome.NOTHING, error.detail
    except (Refused, NotFound, ConsoleUnavailable) as error:
        return Outcome.REFUSED, error.detail
    except Unavailable:
        return Outcome.UNKNOWN, _LOST
    return Outcome.DONE, said if isinstance(said, str) else ""
