"""One client of `rocketmq-python-client`, kept alive: watched also when idle, made anew when its broker was away.

By itself the client needs 5 to 10 minutes to come back after a restart of the proxy: its stream of settings, on which
check-backs come, is rebuilt every 300 s only, and its channel tries to connect at intervals that grow to 2 minutes.
A new client has neither past, and is made in a tenth of a second.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from rocketmq.grpc_protocol import HeartbeatRequest

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_grpc import faults, routes, streams
from halfmessage.mq.rocketmq_grpc.goodbyes import Goodbyes
from halfmessage.mq.rocketmq_grpc.place import Place

_EVERY = 1.0  # seconds between two heartbeats; RocketMQ's client sends one every 10 s
_EVERY_DOWN = 0.25
_PATIENCE = 2.0  # for one heartbeat
_EVERY_REFUSED = 2.0  # while its group is missing
_LINGER = 3.0  # that a replaced client has for its calls in flight
_NO_GROUP = "group not found"  # as the proxy of 5.5.0 ends the stream of a consumer whose group it does not find
_STRIKES_REFUSED = 5  # looks for a missing group that fail in another way, until a client is given up
_STRIKES = 2  # heartbeats not answered in time until a client is given up: one may be a busy machine

log = structlog.get_logger()


class Away(BrokerError):
    """RocketMQ is not there, and looked for."""


class _Slow(BrokerError):
    """RocketMQ did not answer a heartbeat in time."""


class Session:
    """Holds a running client of its own; `make` returns a new one, not started."""

    def __init__(
        self, place: Place, name: str, make: Callable[[], Any], group: str = "", goodbyes: Goodbyes | None = None
    ) -> None:
        """Take what makes a client, and `goodbyes` for one that is asked; nothing is connected before `start`."""
        self._place, self._name, self._make, self._group = place, name, make, group
        self._goodbyes = goodbyes
        self._client: Any = None
        self._refused: Any = None  # a client that runs, whose group RocketMQ does not have
        self._why = ""  # not empty: known to be down, and why
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._suspected = threading.Event()
        self._strikes = 0
        self._outdated = False
        self._retired: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._keep, name=f"rocketmq {name}", daemon=True)

    def start(self) -> None:
        """Connect, in the background, and watch from now on."""
        self._thread.start()

    def client(self, within: float) -> Any:
        """Return the running client; wait for the first one. Raise `Away` if RocketMQ is."""
        with self._changed:
            self._changed.wait_for(lambda: self._client or self._why or self._closed.is_set(), within)
            if self._closed.is_set():
                raise Away("This connection to RocketMQ was closed.")
            if self._client is None:
                raise Away(self._why or f"RocketMQ at {self._place.address} did not answer in time; try again.")
            return self._client

    def anew(self, old: Any, within: float) -> Any:
        """Replace a client that was made with less than `make` knows now; return its successor. Raise `Away`."""
        with self._changed:
            if self._client is old:
                self._outdated = True
                self._suspected.set()
                self._changed.wait_for(lambda: self._client is not old or self._closed.is_set(), within)
                if self._client is old:
                    raise Away(f"RocketMQ at {self._place.address} did not answer in time; try again.")
        return self.client(within)

    @property
    def refusal(self) -> str:
        """Why RocketMQ gives this client nothing although it is there; empty where it does, or is away."""
        return "" if self._refused is None else self._why

    def suspect(self) -> None:
        """Have the client looked at now: a call of it failed."""
        self._suspected.set()

    def close(self) -> None:
        """Tell RocketMQ goodbye and stop watching."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        self._suspected.set()
        if self._thread.is_alive():
            self._thread.join()
        for client in (self._client, self._refused):
            if client is not None:
                self._retire(client)
        self._client = self._refused = None
        for thread in self._retired:
            thread.join()

    def _keep(self) -> None:
        while not self._closed.is_set():
            if self._refused is not None:
                self._ask_again()
            elif self._client is None or self._outdated:
                self._outdated = False
                self._renew()
            else:
                self._look()
            self._suspected.wait(self._pause())
            self._suspected.clear()

    def _pause(self) -> float:
        if self._refused is not None:
            return _EVERY_REFUSED
        return _EVERY_DOWN if self._why else _EVERY

    def _ask_again(self) -> None:
        """See whether RocketMQ has the group by now: the same client, on another stream, to which it said no."""
        client, why = self._refused, ""
        try:
            for endpoints in _endpoints(client):
                streams.replace(client, endpoints, _PATIENCE)
            self._see_answered(client)
        except faults.NoGroup:
            self._strikes = 0
            return
        except BrokerError as error:
            self._strikes += 1
            if self._strikes < _STRIKES_REFUSED:
                return
            self._retire(client)  # more than its group is missing: begin anew
            client, why = None, error.detail
        self._refused = None
        self._hold(client, why)

    def _look(self) -> None:
        try:
            self._beat(self._client)
            if self._goodbyes is not None:
                self._goodbyes.say(self._client)
        except BrokerError as error:
            self._strikes += 1
            if isinstance(error, _Slow) and self._strikes < _STRIKES:
                return
            log.warning("broker.lost", client=self._name, reason=error.detail)
            self._renew()
        else:
            self._strikes = 0

    def _renew(self) -> None:
        """Replace the client by one that works; without one if RocketMQ is away."""
        client, why = None, ""
        try:
            self._place.knock()
            client = self._begin()
        except BrokerError as error:
            why = error.detail
        self._hold(client, why)

    def _hold(self, client: Any, why: str) -> None:
        """Have this client from now on; None: `why` there is none."""
        with self._changed:
            old, again = self._client, bool(self._client or self._why)
            self._client, self._why, self._strikes = client, why, 0
            self._changed.notify_all()
        if old is not None:
            self._retire(old)
        if client is not None:
            log.info("broker.connected", client=self._name, again=again)

    def _begin(self) -> Any:
        """Start a client and see it answered for. Raise `BrokerError`."""
        with faults.translated():
            client = self._make()
            if self._place.pinned:
                routes.pin(client)
            client.startup()
        try:
            self._see_answered(client)
        except faults.NoGroup as error:
            log.warning("broker.group_missing", client=self._name, group=self._group, reason=error.detail)
            self._refused = client
            raise
        except BrokerError:
            self._retire(client)
            raise
        if self._goodbyes is not None:
            self._goodbyes.greeted(client.client_id)
        return client

    def _see_answered(self, client: Any) -> None:
        """Return once RocketMQ knows a client whose settings are on their way. Raise `BrokerError`."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._beat(client)
            except faults.NoGroup:
                raise
            except BrokerError:
                if time.monotonic() >= deadline or self._closed.wait(0.05):
                    raise

    def _beat(self, client: Any) -> None:
        """Raise `BrokerError` unless RocketMQ knows the client, and reaches it on its streams."""
        for topic in client.topics.copy():
            if not client.route_manager.get_all_endpoints():  # a broker that starts tells the name server late
                routes.find(client, topic, _PATIENCE)
        for endpoints in _endpoints(client):
            if not streams.stands(client, endpoints):
                if self._group and _NO_GROUP in streams.last_words(client, endpoints, _PATIENCE):
                    raise faults.NoGroup(self._group)
                raise BrokerError("RocketMQ closed the stream that check-backs come on; it is opened again.")
            request = HeartbeatRequest(client_type=client.client_type)
            if self._group:
                request.group.name, request.group.resource_namespace = self._group, self._place.namespace
            started = time.monotonic()
            try:
                with faults.translated():
                    future = client.rpc_client.heartbeat_async(endpoints, request, client.sign(), timeout=_PATIENCE)
                    faults.check(future.result(_PATIENCE + 1.0).status)
                if self._goodbyes is not None:
                    client.listen(endpoints, _PATIENCE)
            except BrokerError as error:
                if time.monotonic() - started >= _PATIENCE:
                    raise _Slow(error.detail) from error
                raise

    def _retire(self, client: Any) -> None:
        """Shut a client down beside us: calls in flight may finish, and a stuck one takes its time."""
        self._retired = [thread for thread in self._retired if thread.is_alive()]
        thread = threading.Thread(target=self._shut_down, args=(client,), name="rocketmq retiring", daemon=True)
        thread.start()
        self._retired.append(thread)

    def _shut_down(self, client: Any) -> None:
        self._closed.wait(_LINGER)
        try:
            with faults.translated():
                client.shutdown()
            if self._goodbyes is not None:
                self._goodbyes.said(client.client_id)
        except BrokerError as error:
            log.info("broker.client_left_behind", reason=error.detail)


def _endpoints(client: Any) -> list[Any]:
    """Return every broker that a client has a stream to."""
    return list(client.route_manager.get_all_endpoints().values())
