"""A broker's URL, made a broker."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.errors import OrdersError
from common.mq.embedded import EmbeddedBroker
from common.mq.port import Broker, BrokerOptions

_KNOWN = "embedded:///relative/broker.db, embedded:////absolute/broker.db"
_NOT_YET = frozenset({"rocketmq", "rocketmq4"})


def open_broker(url: str, options: BrokerOptions) -> Broker:
    """Open the broker that `url` names. Raise `OrdersError` for a URL that is none, `BrokerError` if it fails.

    As in SQLAlchemy's URLs, three slashes begin a relative path and four an absolute one.
    """
    parts = urlsplit(url)
    if parts.scheme in _NOT_YET:
        raise OrdersError(f"{parts.scheme}:// is not in this build yet; known: {_KNOWN}")
    if parts.scheme != "embedded":
        raise OrdersError(f"No broker is named {parts.scheme!r}; known: {_KNOWN}")
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise OrdersError(f"An embedded broker's URL names a file and no host: {_KNOWN}")
    return EmbeddedBroker(Path(path), options)
