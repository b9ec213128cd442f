"""Calls to another service: one deadline for all tries, one error for all that can go wrong."""

import itertools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from common.errors import PeerUnavailable

log = structlog.get_logger()

_SERVER_ERROR = 500
_AVOIDED_FOR = 2.0  # seconds that an instance that did not answer is asked only after the others


class Peer:
    """Another service, called over kept-alive connections in the name of this one.

    It may run several times: then its instances are called in turn. An instance that can't be connected to is passed
    over for the next, and one that did not answer is asked last for a while. A call is repeated once, on a fresh
    connection and at another instance where there is one, when the kept one was cut: call only what may be repeated.
    """

    def __init__(self, name: str, url: str, token: Callable[[], str], *, timeout: float, connections: int) -> None:
        """Take its name for errors, the base URLs of its instances with commas between, and what gives a bearer token.

        `timeout` is in seconds for one call, `connections` how many are kept to each instance.
        """
        self._name = name
        self._token = token
        self._timeout = timeout
        self._instances = [_Instance(one.strip(), connections) for one in url.split(",")]
        self._turns = itertools.count()

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
        """Send to one instance after the other, until one answers or has begun to and failed."""
        waiting = self._in_turn()
        cut = False
        while True:
            instance = waiting.pop(0)
            try:
                return instance.send(method, path, payload, headers, deadline, share=1 + len(waiting))
            except (NewConnectionError, ConnectTimeoutError):
                instance.avoid()
                if not waiting:
                    raise
            except ProtocolError:  # a kept connection that the peer had closed
                if cut:
                    raise
                cut = True
                waiting.append(instance)
            except ReadTimeoutError:
                instance.avoid()
                raise

    def _in_turn(self) -> list["_Instance"]:
        """Return the instances in the order of asking: in turn, those that did not answer lately last."""
        if len(self._instances) == 1:
            return self._instances.copy()
        first, now = next(self._turns) % len(self._instances), time.monotonic()
        turn = self._instances[first:] + self._instances[:first]
        return sorted(turn, key=lambda instance: instance.avoided_until > now)

    def ready(self) -> None:
        """Raise `PeerUnavailable` unless the service is alive."""
        self.call("GET", "/healthz")

    def close(self) -> None:
        """Close the kept connections."""
        for instance in self._instances:
            instance.close()


class _Instance:
    """One process of a peer, and the connections kept to it."""

    def __init__(self, url: str, connections: int) -> None:
        parts = urlsplit(url)
        self.avoided_until = 0.0
        self._pool = urllib3.connectionpool.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=connections, block=False, retries=False
        )

    def send(
        self,
        method: str,
        path: str,
        payload: bytes | None,
        headers: dict[str, str],
        deadline: float,
        *,
        share: int,
    ) -> urllib3.BaseHTTPResponse:
        """Send once; connecting may take one part of `share` of what is left until the deadline."""
        left = max(deadline - time.monotonic(), 0.001)
        timeout = urllib3.Timeout(connect=left / share, total=left)
        return self._pool.urlopen(
            method, path, body=payload, headers=headers, timeout=timeout, retries=False, redirect=False
        )

    def avoid(self) -> None:
        """Have this instance asked last for a while."""
        self.avoided_until = time.monotonic() + _AVOIDED_FOR

    def close(self) -> None:
        self._pool.close()
