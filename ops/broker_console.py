"""The console of a broker that a URL names: of no data directory, or of one on another machine."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from common.registry import SUBSCRIPTIONS
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, Console
from halfmessage.paths import EMBEDDED, file_path
from ops.errors import NoDeployment

_EVER = 100 * 365 * 86400.0  # seconds
# Whoever has an embedded broker open counts missed checks, parks, and deletes what is old, by settings of its own.
# Those of its services are not known here, and may keep more than the defaults do: nothing is due while we look.
_LEAVES_ALL = BrokerOptions(check_interval=_EVER, invisible_for=_EVER, retry_longest=_EVER, retention=_EVER)


@contextmanager
def open_console(url: str) -> Iterator[Console]:
    """Open what looks at the messages of a broker.

    Raise `ConsoleUnavailable` where it can't be looked into, `BrokerError`, `Misconfigured` for a URL that is none, or
    `NoDeployment` where there is no such file.
    """
    if urlsplit(url).scheme == EMBEDDED and not file_path(url).exists():
        raise NoDeployment(f"There is no broker file {file_path(url)}.")
    with closing(open_broker(url, _LEAVES_ALL, subscriptions=SUBSCRIPTIONS)) as broker:
        yield broker.console()
