"""A broker's URL, made a broker."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from halfmessage.errors import Misconfigured
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import Broker, BrokerOptions
from halfmessage.mq.prefixed import PrefixedBroker
from halfmessage.mq.rocketmq_console.found import FoundConsole
from halfmessage.mq.rocketmq_console.remoting import Address, address
from halfmessage.mq.rocketmq_grpc import open_rocketmq
from halfmessage.mq.rocketmq_remoting import open_rocketmq4
from halfmessage.paths import EMBEDDED, file_path

_KNOWN = "embedded:///relative/broker.db, embedded:////absolute/broker.db, rocketmq://host:port, rocketmq4://host:port"
_ROCKETMQ = {"rocketmq": open_rocketmq, "rocketmq4": open_rocketmq4}


def open_broker(url: str, options: BrokerOptions, *, subscriptions: Sequence[tuple[str, str]] = ()) -> Broker:
    """Open the broker that `url` names. Raise `Misconfigured` for a URL that is none, `BrokerError` if it fails.

    As in SQLAlchemy's URLs, three slashes begin a relative path and four an absolute one. In the query of a RocketMQ's
    URL `prefix=NAME` begins the names of all topics and groups, which others who share it do not see, and
    `namesrv=HOST:PORT` is its name server: with it there is a console, which looks at the messages of
    `subscriptions`, topics with the groups that consume them, as they are at each look.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _ROCKETMQ:
        return _open_embedded(url, options)
    rest, prefix = split_prefix(url)
    rest, namesrv = _split(rest, "namesrv")
    console = FoundConsole(_address(namesrv), prefix, subscriptions) if namesrv else None
    broker = _ROCKETMQ[scheme](rest, options)
    return PrefixedBroker(broker, prefix, console) if prefix or console else broker


def split_prefix(url: str) -> tuple[str, str]:
    """Return a RocketMQ's URL without its prefix, and the prefix; empty where there is none."""
    return _split(url, "prefix")


def _split(url: str, name: str) -> tuple[str, str]:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    rest = urlencode([pair for pair in query if pair[0] != name])
    return parts._replace(query=rest).geturl(), dict(query).get(name, "")


def _address(named: str) -> Address:
    try:
        return address(named)
    except ValueError:
        raise Misconfigured("namesrv in a RocketMQ's URL is the HOST:PORT of its name server.") from None


def _open_embedded(url: str, options: BrokerOptions) -> Broker:
    scheme = urlsplit(url).scheme
    if scheme != EMBEDDED:
        raise Misconfigured(f"No broker is named {scheme!r}; known: {_KNOWN}")
    return EmbeddedBroker(file_path(url), options)
