"""Consul, through its local agent (`py-consul`): a service whose check passes as long as it is told so in time.

An instance whose check is not told within its TTL is critical, and no longer listed; Consul itself forgets it a minute
later, the shortest time that it takes (`DeregisterCriticalServiceAfter`,
https://developer.hashicorp.com/consul/api-docs/agent/check).
"""

import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import ClassVar, Final, TypeVar
from urllib.parse import urlsplit

import consul
import requests
from consul.exceptions import ConsulException

from common.discovery.port import ANSWERS_WITHIN, DiscoveryUnavailable, Instance, Listing

T = TypeVar("T")

_FORGOTTEN_AFTER: Final = "1m"
_URL: Final = "orders-url"  # the field of a service's meta data with its base URL


class ConsulDirectory:
    """Implements `Directory` on Consul: the service `<prefix>-<service>`, with the URL in its meta data."""

    changes: ClassVar[bool] = True

    def __init__(self, host: str, port: int, *, token: str = "", prefix: str = "orders") -> None:  # nosec B107 - none
        """Take where the agent is, the token of its access list where it has one, and how names of ours begin."""
        self._prefix = prefix
        self._client = consul.Consul(host, port, token=token or None, scheme="http", connections_timeout=ANSWERS_WITHIN)
        self._client.http.session.trust_env = False  # what proxies of the environment are for is elsewhere
        self._registered: set[Instance] = set()
        self._guard = threading.Lock()

    def put(self, instance: Instance, ttl: int) -> None:
        """See `Directory`: the check is told to pass, and the service registered anew where the agent lost it."""
        self._ask(lambda: self._put(instance, ttl))

    def withdraw(self, instance: Instance) -> None:
        """See `Directory`."""
        self._registered.discard(instance)
        known = self._ask(self._client.agent.services)
        if self._id(instance) in known:
            self._ask(lambda: self._client.agent.service.deregister(self._id(instance)))

    def read(self, services: Collection[str]) -> Listing:
        """See `Directory`."""
        return {name: self._ask(partial(self._passing, name)) for name in services}

    def close(self) -> None:
        """See `Directory`."""
        self._client.http.session.close()

    def _put(self, instance: Instance, ttl: int) -> None:
        if instance in self._registered:
            try:
                self._client.agent.check.ttl_pass(f"service:{self._id(instance)}")
            except ConsulException:  # the agent was started anew
                self._registered.discard(instance)
            else:
                return
        where = urlsplit(instance.url)
        self._client.agent.service.register(
            f"{self._prefix}-{instance.service}",
            service_id=self._id(instance),
            address=where.hostname,
            port=where.port,
            meta={_URL: instance.url},
            check=consul.Check.ttl(f"{ttl}s") | {"DeregisterCriticalServiceAfter": _FORGOTTEN_AFTER},
        )
        self._client.agent.check.ttl_pass(f"service:{self._id(instance)}")
        self._registered.add(instance)

    def _passing(self, service: str) -> list[str]:
        nodes = self._client.health.service(f"{self._prefix}-{service}", passing=True)[1]
        return sorted(node["Service"]["Meta"][_URL] for node in nodes if _URL in (node["Service"].get("Meta") or {}))

    def _id(self, instance: Instance) -> str:
        where = urlsplit(instance.url)
        return f"{self._prefix}-{instance.service}-{where.hostname}-{where.port}"

    def _ask(self, question: Callable[[], T]) -> T:
        with self._guard:
            try:
                return question()
            except (ConsulException, requests.RequestException, KeyError, ValueError) as error:
                raise DiscoveryUnavailable(f"Consul does not answer ({str(error)[:200]}).") from error
