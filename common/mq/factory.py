"""A broker's URL, made a broker."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.errors import OrdersError
from common.mq.embedded import EmbeddedBroker
from common.mq.port import Broker, BrokerOptions
from common.mq.rocketmq_grpc import open_rocketmq
from common.mq.rocketmq_remoting import open_rocketmq4

_KNOWN = "embedded:///relative/broker.db, embedded:////absolute/broker.db, rocketmq://host:port, rocketmq4://host:port"


def open_broker(url: str, options: BrokerOptions) -> Broker:
    """Open the broker that `url` names. Raise `OrdersError` for a URL that is none, `BrokerError` if it fails.

    As in SQLAlchemy's URLs, three slashes begin a relative path and four an absolute one.
    """
    parts = urlsplit(url)
    if parts.scheme == "rocketmq":
        return open_rocketmq(url, options)
    if parts.scheme == "rocketmq4":
        return open_rocketmq4(url, options)
    if parts.scheme != "embedded":
        raise OrdersError(f"No broker is named {parts.scheme!r}; known: {_KNOWN}")
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise OrdersError(f"An embedded broker's URL names a file and no host: {_KNOWN}")
    return EmbeddedBroker(Path(path), options)
