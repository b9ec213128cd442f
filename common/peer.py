"""Calls to another service: one deadline for all tries, one error for all that can go wrong."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from common import tracing
from common.breaker import Breaker, BreakerOpen
from common.errors import PeerUnavailable

log = structlog.get_logger()

Watch = Callable[[str, str, bool], None]
"""Told the name of a peer, the URL of its instance, and whether that is left alone from now on."""

_SERVER_ERROR = 500
_REFUSES_US = frozenset({401, 403})
_AVOIDED_FOR = 2.0  # seconds that an instance that did not answer is asked only after the others
_GONE_FOR = 60.0  # seconds that an instance is remembered that left the list: longer than one takes to start again
_GONE = 8  # of these at most, those that left last
_READ = 64 * 1024  # bytes at once


class Peer:
    """Another service, called over kept-alive connections in the name of this one.

    It may run several times: then its instances are called in turn; `use` replaces them while calls go on. An instance
    that can't be connected to is passed over for the next, and one that did not answer is asked last for a while. Where
    none can be connected to, those that left the list lately are tried: one that has just started again may not be
    listed yet. A call is repeated once, on a fresh connection and at another instance where there is one, when the kept
    one was cut: call only what may be repeated.

    Each instance has a circuit breaker: one that failed several times in a row (no answer, or a 5xx) is passed over,
    but for one call at a time that tries it. While that is so for all of them, the answer is `PeerUnavailable` at once.
    """

    def __init__(
        self,
        name: str,
        url: str,
        token: Callable[[], str],
        *,
        timeout: float,
        connections: int,
        watch: Watch = lambda *_: None,
    ) -> None:
        """Take its name for errors, the base URLs of its instances with commas between, and what gives a bearer token.

        `timeout` is in seconds for one call, `connections` how many are kept to each instance.
        """
        self._name = name
        self._token = token
        self._timeout = timeout
        self._connections, self._watch = connections, watch
        self._beside: list[Peer] = []
        self._replacing = threading.Lock()
        self._instances: dict[str, _Instance] = {}
        self._gone: dict[str, tuple[_Instance, float]] = {}  # with when they left the list
        self._turns = itertools.count()
        self.use([one.strip() for one in url.split(",")])

    @property
    def service(self) -> str:
        """The service that is called."""
        return self._name

    def use(self, urls: Sequence[str]) -> None:
        """Call these instances from now on, one at least; what is known of those that stay is kept.

        Calls on their way to one that is gone come to their end. Its connections are closed with the last of them: the
        pool of urllib3 does that when nothing refers to it any more.
        """
        with self._replacing:
            before, now = self._instances, time.monotonic()
            self._instances = {url: before.get(url) or self._instance(url) for url in urls}
            left = {url: (instance, now) for url, instance in before.items() if url not in self._instances}
            for instance, _ in left.values():
                instance.retire()
            gone = {url: then for url, then in self._gone.items() if url not in self._instances} | left
            self._gone = dict(list(gone.items())[-_GONE:])
            for link in self._beside:
                link.use(urls)

    def _instance(self, url: str) -> "_Instance":
        return _Instance(url, self._connections, partial(self._changed, url))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        within: float | None = None,
        token: str | None = None,
        key: str | None = None,
    ) -> tuple[int, Any]:
        """Call `path`; return the status and the JSON answer (None for an empty one).

        It is called with `token`, where that is not our own, and under the Idempotency-Key `key`. The deadline is
        `within` seconds away, and no further than the peer's `timeout`. Raise `PeerUnavailable` for no answer in time,
        a 5xx, or one that can't be read: the call may have been done.
        """
        timeout = self._timeout if within is None else min(within, self._timeout)
        return self._call(method, path, body, _Instance.ask, timeout, token, key)

    def beside(self, what: str, *, timeout: float) -> "Peer":
        """Return one more link to the service, whose calls may take `timeout` seconds; it is closed with this one.

        It has breakers of its own, so that what is slow there, or fails, leaves the calls on this one alone; they are
        watched as `<name> (<what>)`.
        """

        def watch(name: str, url: str, is_left_alone: bool) -> None:
            self._watch(f"{name} ({what})", url, is_left_alone)

        with self._replacing:
            urls = ",".join(self._instances)
            made = Peer(self._name, urls, self._token, timeout=timeout, connections=self._connections, watch=watch)
            self._beside.append(made)
        return made

    def ready(self) -> None:
        """Raise `PeerUnavailable` unless an instance is ready and takes our token, whatever it answered lately."""
        self._call("GET", "/internal/readyz", None, _Instance.look, self._timeout)

    def close(self) -> None:
        """Close the kept connections."""
        for instance in self._instances.values():
            instance.close()
        for link in self._beside:
            link.close()

    def _call(
        self,
        method: str,
        path: str,
        body: Any,
        how: "How",
        timeout: float,
        token: str | None = None,
        key: str | None = None,
    ) -> tuple[int, Any]:
        payload = None if body is None else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {token or self._token()}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        call = _Call(method, path, payload, headers, time.monotonic() + timeout)
        try:
            status, data = self._send(call, how)
            return status, orjson.loads(data) if data else None
        except (HTTPError, orjson.JSONDecodeError) as error:
            log.warning("peer did not answer", peer=self._name, path=path, reason=repr(error))
            raise PeerUnavailable(
                f"The {self._name} service did not answer; nothing was changed, try again."
            ) from error
        except (_Failed, BreakerOpen) as error:
            log.warning("peer failed", peer=self._name, path=path, reason=repr(error))
            raise PeerUnavailable(
                f"The {self._name} service is unavailable; nothing was changed, try again."
            ) from error

    def _send(self, call: "_Call", how: "How") -> tuple[int, bytes]:
        """Send to one instance after the other, until one answers or has begun to and failed."""
        waiting = self._in_turn()
        cut = False
        while True:
            instance = waiting.pop(0)
            try:
                return how(instance, call, 1 + len(waiting))
            except (BreakerOpen, _NotReady):
                if not waiting:
                    raise
            except (NewConnectionError, ConnectTimeoutError) as error:
                instance.avoid()
                if not waiting:
                    return self._send_to_gone(call, how, error)
            except ProtocolError:  # a kept connection that the peer had closed
                if cut:
                    raise
                cut = True
                waiting.append(instance)
            except ReadTimeoutError:
                instance.avoid()
                raise

    def _send_to_gone(self, call: "_Call", how: "How", error: HTTPError) -> tuple[int, bytes]:
        """Send to one that left the list lately and is there again. Raise `error` where none is.

        Another service may have its port by now: it refuses a token that is not for it, and has done nothing.
        """
        since = time.monotonic() - _GONE_FOR
        for instance, left_at in self._gone.values():
            if left_at < since:
                continue
            try:
                status, data = how(instance, call, 1)
            except (NewConnectionError, ConnectTimeoutError, BreakerOpen, _NotReady):
                continue
            if status not in _REFUSES_US:
                return status, data
        raise error

    def _in_turn(self) -> list["_Instance"]:
        """Return the instances in the order of asking: in turn, those that did not answer lately last."""
        instances = list(self._instances.values())
        if len(instances) == 1:
            return instances
        first, now = next(self._turns) % len(instances), time.monotonic()
        turn = instances[first:] + instances[:first]
        return sorted(turn, key=lambda instance: instance.avoided_until > now)

    def _changed(self, url: str, left_alone: bool) -> None:
        log.warning("peer left alone" if left_alone else "peer works again", peer=self._name, instance=url)
        self._watch(self._name, url, left_alone)


class _Failed(Exception):
    """An answer that says that the peer failed."""


class _NotReady(_Failed):
    """An answer that says that calls of ours would fail there; another instance may be ready."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    payload: bytes | None
    headers: dict[str, str]
    deadline: float  # time.monotonic()


class _Instance:
    """One process of a peer, and the connections kept to it."""

    def __init__(self, url: str, connections: int, changed: Callable[[bool], None]) -> None:
        parts = urlsplit(url)
        tracing.peer(url)
        self.avoided_until = 0.0
        self._changed, self._retired = changed, False
        self._breaker = Breaker(self._tell)
        self._pool = urllib3.connectionpool.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=connections, block=False, retries=False
        )

    def ask(self, call: _Call, share: int) -> tuple[int, bytes]:
        """Send once, unless this instance is left alone; return the status and the answer.

        Connecting may take one part of `share` of what is left until the deadline.
        """
        return self._breaker.call(lambda: self._ask(call, share))

    def look(self, call: _Call, share: int) -> tuple[int, bytes]:
        """Send once in any case. What says that it is ready is worth a try by the next that `ask`."""
        try:
            status, data = self._ask(call, share)
        except _Failed as error:
            raise _NotReady(*error.args) from error
        if status in _REFUSES_US:
            raise _NotReady(f"status {status}: it refuses our token")
        self._breaker.invite()
        return status, data

    def _ask(self, call: _Call, share: int) -> tuple[int, bytes]:
        left = max(call.deadline - time.monotonic(), 0.001)
        response = self._pool.urlopen(
            call.method,
            call.path,
            body=call.payload,
            headers=call.headers,
            timeout=urllib3.Timeout(connect=left / share, total=left),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        data = self._read(response, call)
        if response.status >= _SERVER_ERROR:
            raise _Failed(f"status {response.status}")
        return response.status, data

    def _read(self, response: urllib3.BaseHTTPResponse, call: _Call) -> bytes:
        """Return the body. A socket's timeout applies to each read; the deadline bounds the whole body."""
        pieces = []
        with closing(response):  # which keeps the connection, once the answer was read to its end
            while piece := response.read1(_READ):
                pieces.append(piece)
                if time.monotonic() > call.deadline:
                    raise ReadTimeoutError(self._pool, call.path, "the answer did not end in time")
            response.release_conn()
        return b"".join(pieces)

    def avoid(self) -> None:
        """Have this instance asked last for a while."""
        self.avoided_until = time.monotonic() + _AVOIDED_FOR

    def retire(self) -> None:
        """Be told of no more: this instance is gone, and not left alone either."""
        if not self._breaker.is_closed:
            self._changed(False)
        self._retired = True

    def close(self) -> None:
        self._pool.close()

    def _tell(self, left_alone: bool) -> None:
        if not self._retired:
            self._changed(left_alone)


How = Callable[[_Instance, _Call, int], tuple[int, bytes]]
"""How an instance is asked: `_Instance.ask` or `look`."""
