"""Calls to another service: one deadline for all tries, one error for all that can go wrong."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
import urllib3
from urllib3.exceptions import HTTPError

from common.errors import PeerUnavailable

log = structlog.get_logger()

_SERVER_ERROR = 500


class Peer:
    """Another service, called over kept-alive connections in the name of this one.

    A call is repeated once on a fresh connection when the kept one was cut: call only what may be repeated.
    """

    def __init__(self, name: str, url: str, token: Callable[[], str], *, timeout: float, connections: int) -> None:
        """Take its name for errors, its base URL, what gives a bearer token, and seconds for one call."""
        self._name = name
        self._token = token
        self._timeout = timeout
        parts = urlsplit(url)
        self._pool = urllib3.connectionpool.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=connections, block=False, retries=False
        )

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call `path`; return the status and the JSON answer (None for an empty one).

        Raise `PeerUnavailable` for no answer in time, a 5xx, or one that can't be read: the call may have been done.
        """
        deadline = time.monotonic() + self._timeout
        payload = None if body is None else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        try:
            response = self._send(method, path, payload, headers, deadline)
            answer = orjson.loads(response.data) if response.data else None
        except (HTTPError, orjson.JSONDecodeError) as error:
            log.warning("peer did not answer", peer=self._name, path=path, reason=repr(error))
            raise PeerUnavailable(
                f"The {self._name} service did not answer; nothing was changed, try again."
            ) from error
        if response.status >= _SERVER_ERROR:
            log.warning("peer failed", peer=self._name, path=path, status=response.status)
            raise PeerUnavailable(f"The {self._name} service is unavailable; nothing was changed, try again.")
        return response.status, answer

    def _send(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str], deadline: float
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._send_once(method, path, payload, headers, deadline)
        except urllib3.exceptions.ProtocolError:  # a kept connection that the peer had closed
            return self._send_once(method, path, payload, headers, deadline)

    def _send_once(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str], deadline: float
    ) -> urllib3.BaseHTTPResponse:
        left = max(deadline - time.monotonic(), 0.001)
        return self._pool.urlopen(
            method, path, body=payload, headers=headers, timeout=urllib3.Timeout(total=left), redirect=False
        )

    def ready(self) -> None:
        """Raise `PeerUnavailable` unless the service is alive."""
        self.call("GET", "/healthz")

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()
