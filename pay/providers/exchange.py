"""HTTP with a provider: kept-alive connections, one deadline for a whole exchange, and a bound on its answer."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import urllib3
from urllib3.exceptions import HTTPError

_READ: Final = 64 * 1024  # bytes at once
_LONGEST: Final = 4 * 1024 * 1024  # bytes of an answer
_CONNECTIONS: Final = 16  # kept to each host


class NoAnswer(Exception):
    """There was no answer in time, or not a whole one; what was asked may have been done."""


class Exchange:
    """Sends requests. Thread-safe."""

    def __init__(self, timeout: float, **tls: Any) -> None:
        """Give up after `timeout` seconds; `tls` is for urllib3's pool."""
        self._timeout = timeout
        self._pools = urllib3.PoolManager(maxsize=_CONNECTIONS, retries=False, **tls)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send once; return the status, the headers and the body. Raise `NoAnswer`."""
        deadline = time.monotonic() + self._timeout
        try:
            response = self._pools.request(
                method,
                url,
                body=body,
                headers=dict(headers),
                timeout=urllib3.Timeout(total=self._timeout),
                redirect=False,
                preload_content=False,
            )
            return response.status, response.headers, _read(response, deadline)
        except HTTPError as error:
            raise NoAnswer(type(error).__name__) from error

    def close(self) -> None:
        """Close the kept connections."""
        self._pools.clear()


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the body. A socket's time limit is one for each piece: one that drips could take for ever."""
    pieces, size = [], 0
    with closing(response):  # which keeps the connection, once the answer was read to its end
        while piece := response.read1(_READ):
            pieces.append(piece)
            size += len(piece)
            if size > _LONGEST:
                raise NoAnswer("The answer is too long.")
            if time.monotonic() > deadline:
                raise NoAnswer("The answer did not end in time.")
        response.release_conn()
    return b"".join(pieces)
