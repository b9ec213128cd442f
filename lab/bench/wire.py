"""HTTP/1.1 as the load needs it: requests made once and sent as they are, answers read no further than must be.

What is left out, our services never send: chunked bodies, answers without a length.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from types import MappingProxyType
from typing import Any, NamedTuple

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_SLUG = re.compile(rb'"type":\s*"[^"]*/([a-z-]+)"')
_REQUEST_ID = re.compile(rb'"request_id":\s*"(\d+)"')
_ORDER_ID = re.compile(rb'"order_id":\s*"(\d+)"')


class Malformed(Exception):
    """An answer that this module can't read."""


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes

    @property
    def kind(self) -> str:
        """Name it as an error: its status, and the slug of the problem that it is (RFC 9457)."""
        slug = _SLUG.search(self.body)
        return f"{self.status} {slug[1].decode()}" if slug else str(self.status)

    @property
    def order_id(self) -> int | None:
        """The order it tells of, if any."""
        found = _ORDER_ID.search(self.body)
        return int(found[1]) if found else None

    @property
    def request_id(self) -> int | None:
        """The order request it tells of, if any: not the number of a call, which a problem has under this name."""
        found = None if b'"type"' in self.body else _REQUEST_ID.search(self.body)
        return int(found[1]) if found else None


def read_answer(data: bytes) -> Answer | None:
    """Return the answer in `data`, None as long as some of it is missing. Raise `Malformed`."""
    head_end = data.find(_HEAD_END)
    if head_end < 0:
        return None
    length = _LENGTH.search(data, 0, head_end + 2)
    if length is None or not data.startswith(b"HTTP/1.1 "):
        raise Malformed(data[:head_end].decode("latin-1"))
    begin = head_end + len(_HEAD_END)
    end = begin + int(length[1])
    return Answer(int(data[9:12]), data[begin:end]) if len(data) >= end else None


def make_request(
    method: str, path: str, token: str, body: Any = None, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Return a request, ready to be sent, with these headers and what it needs anyway."""
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if data:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


@dataclass(frozen=True, slots=True)
class Requests:
    """What is sent: `messages`, over and over; with `keys`, each under an Idempotency-Key of its own.

    The keys are `keys` and a number from 0 on; with `number`, only so many different ones, over and over, so that
    what was sent before can be sent again.
    """

    messages: Sequence[bytes]
    keys: str = ""
    number: int = 0

    def __iter__(self) -> Iterator[bytes]:
        """Return an iterator that never ends."""
        return self._keyed() if self.keys else cycle(self.messages)

    def _keyed(self) -> Iterator[bytes]:
        parts = [message.split(_HEAD_END, 1) for message in self.messages]
        key = self.keys.encode()
        for number in cycle(range(self.number)) if self.number else count():
            head, body = parts[number % len(parts)]
            yield b"%b\r\nIdempotency-Key: %b-%d%b%b" % (head, key, number, _HEAD_END, body)
