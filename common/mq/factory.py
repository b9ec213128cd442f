"""A broker's URL, made a broker."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from common.errors import OrdersError
from common.mq.embedded import EmbeddedBroker
from common.mq.port import Broker, BrokerOptions
from common.mq.prefixed import PrefixedBroker
from common.mq.rocketmq_grpc import open_rocketmq
from common.mq.rocketmq_remoting import open_rocketmq4
from common.paths import EMBEDDED, file_path

_KNOWN = "embedded:///relative/broker.db, embedded:////absolute/broker.db, rocketmq://host:port, rocketmq4://host:port"
_ROCKETMQ = {"rocketmq": open_rocketmq, "rocketmq4": open_rocketmq4}


def open_broker(url: str, options: BrokerOptions) -> Broker:
    """Open the broker that `url` names. Raise `OrdersError` for a URL that is none, `BrokerError` if it fails.

    As in SQLAlchemy's URLs, three slashes begin a relative path and four an absolute one. `prefix=NAME` in the query
    of a RocketMQ's URL begins the names of all topics and groups, which others who share it do not see.
    """
    scheme = urlsplit(url).scheme
    if scheme in _ROCKETMQ:
        plain, prefix = split_prefix(url)
        broker = _ROCKETMQ[scheme](plain, options)
        return PrefixedBroker(broker, prefix) if prefix else broker
    return _open_embedded(url, options)


def split_prefix(url: str) -> tuple[str, str]:
    """Return a RocketMQ's URL without its prefix, and the prefix; empty where there is none."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    prefix = dict(query).get("prefix", "")
    return parts._replace(query=urlencode([pair for pair in query if pair[0] != "prefix"])).geturl(), prefix


def _open_embedded(url: str, options: BrokerOptions) -> Broker:
    scheme = urlsplit(url).scheme
    if scheme != EMBEDDED:
        raise OrdersError(f"No broker is named {scheme!r}; known: {_KNOWN}")
    return EmbeddedBroker(file_path(url), options)
