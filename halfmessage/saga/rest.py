"""Steps over HTTP: one request a try, with `Idempotency-Key: run/step/direction`.

The header: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from halfmessage.errors import Misconfigured, Unavailable
from halfmessage.saga.definition import Call, Direction
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import MOST_BYTES

REFUSED: Final = frozenset({400, 403, 404, 405, 409, 410, 412, 422})
"""Statuses that say that trying again would change nothing. Not among them: 401, 408, 425, 429, and all from 500."""
_CONNECTIONS: Final = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_SHORTEST: Final = 0.001  # seconds of a socket's time, for 0 means: do not wait


class StepFailed(Unavailable):
    """The step was not answered, or not as it should be: it is tried again."""


def _nothing(_call: Call) -> None:
    pass


def _no_headers() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Rest:
    """A request, for `Outside(do=…)` or `Outside(undo=…)`.

    `url`: http or https, perhaps made of the call. `body` returns JSON; None sends none. `headers` are asked for each
    request, for tokens that expire. A status of 2xx is done, and its JSON, if that is what it answers, is the result;
    one of `refused` is a refusal, whose reason is the `detail` of a problem document (RFC 9457), if there is one;
    anything else is a failure, a redirect too. A try takes no longer than the call's deadline allows, however slowly
    the answer drips. An answer has at most `MOST_BYTES`.
    """

    url: str | Callable[[Call], str]
    method: str = "POST"
    body: Callable[[Call], Any] = field(default=_nothing)
    headers: Callable[[], Mapping[str, str]] = field(default=_no_headers)
    refused: Collection[int] = REFUSED

    def __call__(self, call: Call) -> Any:
        """Send one request. Raise `StepRefused`, `StepFailed`, or `Misconfigured` where the URL is none."""
        status, kind, answer = self._exchanged(call)
        if 200 <= status < 300:  # noqa: PLR2004 - as everybody knows
            return _json(answer) if kind.endswith("json") and answer else None
        told = _reason(status, answer)
        if status in self.refused and call.direction is Direction.DO:
            raise StepRefused(told)
        raise StepFailed(told)

    def _exchanged(self, call: Call) -> tuple[int, str, bytes]:
        ends = time.monotonic() + call.seconds_left
        parts = _parts(self.url if isinstance(self.url, str) else self.url(call))
        body = self.body(call)
        headers = {"Accept": "application/json", "Idempotency-Key": call.idempotency_key, **self.headers()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = _CONNECTIONS[parts.scheme](str(parts.hostname), parts.port, timeout=_left(ends))
        try:
            connection.connect()
            with _within(ends, connection.sock):
                connection.request(self.method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                answer = _read(response)
        except (OSError, http.client.HTTPException) as error:
            raise StepFailed(f"{parts.scheme}://{parts.netloc} does not answer: {error}") from error
        finally:
            connection.close()
        kind = response.headers.get_content_type()
        return response.status, kind, answer


@contextmanager
def _within(ends: float, connected: socket.socket) -> Iterator[None]:
    """Cut a connection when the time is over: a socket's own time begins anew with each byte, of a header as well."""

    def cut() -> None:
        with suppress(OSError):  # it was closed just now
            connected.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(_left(ends), cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        _left(ends)  # what was cut looks like an end


def _read(response: http.client.HTTPResponse) -> bytes:
    answer = b""
    while part := response.read1(MOST_BYTES):
        answer += part
        if len(answer) > MOST_BYTES:
            raise StepFailed(f"The answer has more than {MOST_BYTES} bytes.")
    if response.length:
        raise StepFailed(f"The answer ended {response.length} bytes early.")
    return answer


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise StepFailed("The step's time is over.")
    return max(left, _SHORTEST)


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _CONNECTIONS or not parts.hostname:
        raise Misconfigured(f"A step's URL is http://HOST… or https://HOST…, not {url!r}.")
    return parts


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError as error:
        raise StepFailed("The answer says that it is JSON, and is none.") from error


def _reason(status: int, answer: bytes) -> str:
    try:
        problem = json.loads(answer)
    except ValueError:
        problem = None
    words = (problem.get("detail") or problem.get("title")) if isinstance(problem, dict) else None
    return f"{status}: {words}" if isinstance(words, str) else f"answered with status {status}"
