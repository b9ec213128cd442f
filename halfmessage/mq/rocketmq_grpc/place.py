"""Where RocketMQ is, and what it allows: the URL `rocketmq://[key:secret@]host:port[?…]`, read."""

import socket
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from halfmessage.errors import BrokerError, Misconfigured

_SHAPE = (
    "rocketmq://[key:secret@]host:port[?tls=1&pinned=1&namespace=…&probe=topic&min_invisible=10&poll=5&max_delay=86400]"
)
_MIN_INVISIBLE = 10.0  # seconds
_POLL = 5.0
_MAX_DELAY = 86_400.0
_CONNECT = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """One RocketMQ proxy, as clients see it. Durations in seconds.

    `min_invisible`, `poll` and `max_delay` are limits of the proxy, whose defaults are ours: in its configuration
    (ProxyConfig.java) `minInvisibleTimeMillsForRecv`, `grpcClientConsumerMinLongPollingTimeoutMillis` and
    `maxDelayTimeMills`. `probe` is a topic for normal messages: a ping stores one there. `pinned`: every call goes to
    this host and port, whatever address the proxy names in its routes (behind a port forward, NAT or a load balancer;
    a proxy in local mode names its broker's `brokerIP1`, which clients may not reach).
    """

    host: str
    port: int
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    tls: bool = False
    pinned: bool = False
    namespace: str = ""
    probe: str = ""
    min_invisible: float = _MIN_INVISIBLE
    poll: float = _POLL
    max_delay: float = _MAX_DELAY

    @property
    def address(self) -> str:
        """Host and port, as a person writes them."""
        return f"{self.host}:{self.port}"

    def knock(self) -> None:
        """See whether anybody listens, which costs less than a client. Raise `BrokerError`."""
        try:
            with socket.create_connection((self.host, self.port), _CONNECT) as knock:
                if knock.getsockname() == knock.getpeername():  # TCP met itself: a port of the kernel's own choice
                    raise ConnectionRefusedError("no process listens")
        except OSError as error:
            raise BrokerError(
                f"RocketMQ at {self.address} is not there ({error}); start it, or check the broker's URL: "
                "it is tried again."
            ) from error

    @classmethod
    def read(cls, url: str) -> "Place":
        """Read a URL. Raise `Misconfigured` if it is not of that shape."""
        parts = urlsplit(url)
        settings = dict(parse_qsl(parts.query))
        try:
            host, port = parts.hostname, parts.port
            place = cls(
                host or "",
                port or 0,
                key=unquote(parts.username or ""),
                secret=unquote(parts.password or ""),
                tls=settings.pop("tls", "0") in {"1", "true"},
                pinned=settings.pop("pinned", "0") in {"1", "true"},
                namespace=settings.pop("namespace", ""),
                probe=settings.pop("probe", ""),
                min_invisible=float(settings.pop("min_invisible", _MIN_INVISIBLE)),
                poll=float(settings.pop("poll", _POLL)),
                max_delay=float(settings.pop("max_delay", _MAX_DELAY)),
            )
        except ValueError:  # which quotes what it met: perhaps a part of the secret
            raise Misconfigured(f"A RocketMQ's URL has the shape {_SHAPE}, with numbers where they are.") from None
        if not host or not port or parts.path.strip("/") or settings:
            raise Misconfigured(f"A RocketMQ's URL has the shape {_SHAPE}.")
        return place
