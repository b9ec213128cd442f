"""Where the calls of a service go: its instances, how they are watched, and what is sent twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

Json = dict[str, Any]

HEALTH_EVERY: Final = "400ms"
HEALTH_WITHIN: Final = "1s"
FAILED_FOR: Final = "2s"
"""So long an instance on whose connection a call failed gets no other, unless no check found it well meanwhile."""
DIALED_WITHIN: Final = "1s"
ANSWERED_WITHIN: Final = "90s"
"""Until an answer begins: longer than the longest wait of a service, which is for a provider (60 s)."""
_KEPT_FOR: Final = "30s"  # an idle connection: less than the 60 s after which a service ends it
_KEPT: Final = 512  # idle connections to an instance
TRIES: Final = 2  # after the first one
KEYED: Final[Json] = {"header": {"Idempotency-Key": ["*"]}}
"""Matches calls that may be repeated though they write."""


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of a service: `addresses` (host:port) or, where `name` is given, what a DNS name stands for."""

    addresses: tuple[str, ...]
    name: str = ""

    @classmethod
    def at(cls, urls: Sequence[str]) -> "Instances":
        """Return those at some base URLs."""
        return cls(tuple(urlsplit(url).netloc for url in urls))

    @property
    def several(self) -> bool:
        """Whether there may be another one for a call that failed at one."""
        return bool(self.name) or len(self.addresses) > 1


def proxy(instances: Instances, *, most: int | None) -> Json:
    """Return the handler that sends a request of up to `most` bytes on.

    Its body is read before (see `gateway.caddy`) and buffered here, so that it can be sent a second time. None: it is
    sent on as it comes, and once.
    """
    handler: Json = {
        "handler": "reverse_proxy",
        **({} if most is None else {"request_buffers": most + 1}),
        "headers": {"request": {"delete": ["Forwarded", "Via"]}},
        "transport": {
            "protocol": "http",
            "dial_timeout": DIALED_WITHIN,
            "response_header_timeout": ANSWERED_WITHIN,
            "keep_alive": {"max_idle_conns_per_host": _KEPT, "idle_timeout": _KEPT_FOR},
            "compression": False,
        },
        **_where(instances),
    }
    if not instances.several:
        return handler
    return handler | _spread(instances)


def _where(instances: Instances) -> Json:
    if instances.name:
        host, _, port = instances.name.partition(":")
        return {"dynamic_upstreams": {"source": "a", "name": host, "port": port, "refresh": "2s"}}
    return {"upstreams": [{"dial": address} for address in instances.addresses]}


def _spread(instances: Instances) -> Json:
    """Spread calls over instances. One alone is not watched: its refusal is known at once, and there is no other.

    What could not be sent at all is sent elsewhere; what was sent, only if it may be repeated.
    """
    checks: Json = {"passive": {"fail_duration": FAILED_FOR, "max_fails": 1}}
    if not instances.name:  # Caddy watches only those that stand in its configuration
        checks["active"] = {
            "uri": "/healthz",
            "interval": HEALTH_EVERY,
            "timeout": HEALTH_WITHIN,
            "expect_status": 200,
        }
    return {
        "load_balancing": {
            "selection_policy": {"policy": "least_conn"},
            "retries": TRIES,
            "retry_match": [{"method": ["GET", "HEAD"]}, {"method": ["POST"]} | KEYED],
        },
        "health_checks": checks,
    }
