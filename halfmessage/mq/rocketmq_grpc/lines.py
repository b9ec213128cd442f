"""Blocking calls to RocketMQ, on gRPC channels of our own beside those of a client.

The client's own calls pass through an event loop, gRPC's poller and two threads of Python's, each of which has to get
the interpreter lock: alone twice, in a busy process several times the processor time (docs/performance.md). What an
order waits for goes this way; streams and heartbeats stay with the client.
"""

import threading
from typing import Any

import grpc
from rocketmq.grpc_protocol import MessagingServiceStub

# As the client's own channels have it, but soon there again after a cut.
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Lines:
    """One client's channels, by endpoints. Thread-safe; like the client, made after any fork."""

    def __init__(self, *, tls: bool) -> None:
        """Connect to nothing yet."""
        self._tls = tls
        self._guard = threading.Lock()
        self._open: dict[str, tuple[grpc.Channel, Any]] = {}

    def to(self, endpoints: Any) -> Any:
        """Return a stub of RocketMQ's `MessagingService` there; its methods raise `grpc.RpcError`."""
        where = endpoints.facade
        with self._guard:
            if where not in self._open:
                channel = self._channel(where)
                self._open[where] = channel, MessagingServiceStub(channel)
            return self._open[where][1]

    def renew(self, endpoints: Any) -> None:
        """Have the next call connect anew: this line may be dead. Calls in flight on it go on."""
        with self._guard:
            self._open.pop(endpoints.facade, None)

    def close(self) -> None:
        """Close them all; calls in flight fail."""
        with self._guard:
            lines, self._open = list(self._open.values()), {}
        for channel, _ in lines:
            channel.close()

    def _channel(self, where: str) -> grpc.Channel:
        if self._tls:
            return grpc.secure_channel(where, grpc.ssl_channel_credentials(), _OPTIONS)
        return grpc.insecure_channel(where, _OPTIONS)
