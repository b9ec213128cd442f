"""Streams of events (SSE, https://html.spec.whatwg.org/multipage/server-sent-events.html), each with a bound.

A stream holds a thread: so there are so many at once, each lasts so long, and the client then asks again, which
browsers do by themselves. They end when the service is told to stop.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final, Self

import orjson

from common.web.gate import Gate
from halfmessage.errors import HalfMessageError

_LOOK_EVERY: Final = 0.25  # seconds
_SIGN_OF_LIFE_EVERY: Final = 5.0  # seconds: it also finds out that the client is gone
_AGAIN_AFTER: Final = 1000  # milliseconds until a client asks again

Look = Callable[[], tuple[Mapping[str, Any], bool]]
"""Returns what is to be told, and whether it is the last."""


class Stream(Iterator[bytes]):
    """The pieces of one stream; its place is given back at its end, or when it is closed or dropped."""

    def __init__(self, pieces: Iterator[bytes], place: ExitStack) -> None:
        """Take the pieces, and what gives the place back."""
        self._pieces = pieces
        self._place = place

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Wait for the next piece."""
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the place back. May be called again."""
        self._place.close()

    __del__ = close


class Streams:
    """The streams of one route."""

    def __init__(self, most: int, *, lasts: float, ending: threading.Event) -> None:
        """Allow `most` at once, a quarter of them to one user, each for `lasts` seconds, or until `ending` is set."""
        self._gate = Gate(most, share=max(1, most // 4))
        self._lasts = lasts
        self._ending = ending

    def open(self, user: str, look: Look) -> Stream:
        """Return a stream that tells what `look` returns whenever that changes. Raise `OverLimit` or `Overloaded`.

        It ends early where `look` raises, for the client to ask again.
        """
        place = ExitStack()
        place.enter_context(self._gate.of(user))
        return Stream(self._pieces(look), place)

    def _pieces(self, look: Look) -> Iterator[bytes]:
        yield b"retry: %d\n\n" % _AGAIN_AFTER
        until, told, sign_at, is_over = time.monotonic() + self._lasts, b"", 0.0, False
        while not is_over and time.monotonic() < until:
            try:
                found, is_last = look()
            except HalfMessageError:  # the answer has begun, and can't be made a problem
                return
            event, now = b"data: " + orjson.dumps(found) + b"\n\n", time.monotonic()
            if event != told or now >= sign_at:
                yield event if event != told else b": waiting\n\n"
                told, sign_at = event, now + _SIGN_OF_LIFE_EVERY
            is_over = is_last or self._ending.wait(_LOOK_EVERY)
