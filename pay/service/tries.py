"""Tries to pay: what the provider's word on one does to it."""

from typing import Final

from sqlalchemy import Connection, update

from pay.model import AttemptState, attempts, cut

LOOK_BACK: Final = 10_000
"""Ms after which a provider that took money at once, or said no, is asked about it."""
LOOK_ON: Final = 60_000
"""Ms for which a try that took money and was closed is asked about: a payment may have been under way."""

_OVER: Final = AttemptState.OVER.value


def end(connection: Connection, provider: str, reference: str, refusal: str, now: int, until: int) -> None:
    """Note that a try failed, or expired. Some providers take the money all the same: it is asked about until a time.

    Soon at first, then in distances that double (see `pay.service.polling`). Times in ms.
    """
    asked = {"asked_until": until, "polls": 0, "next_poll_at": now + LOOK_BACK}
    _move(connection, provider, reference, state=_OVER, refusal=cut(refusal), **asked)


def took(connection: Connection, provider: str, reference: str, now: int, *, at_once: bool) -> None:
    """Note that a try took the money. It is asked about once more: a provider may have taken it twice.

    Unless it did so at once, it is closed before, so that it takes no more, and asked about for `LOOK_ON`. `now` in ms.
    """
    again = {"to_close": not at_once, "polls": 0, "next_poll_at": now + (LOOK_BACK if at_once else 0)}
    _move(connection, provider, reference, state=_OVER, asked_until=now + (0 if at_once else LOOK_ON), **again)


def _move(connection: Connection, provider: str, reference: str, **values: object) -> None:
    is_it = (attempts.c.provider == provider) & (attempts.c.reference == reference)
    is_open = attempts.c.state == AttemptState.OPEN.value
    connection.execute(update(attempts).where(is_it & is_open).values(**values))
