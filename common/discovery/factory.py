"""Picks the directory that `ORDERS_DISCOVERY` names."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from common.discovery.certificates import Certificates
from common.discovery.embedded import EmbeddedDirectory
from common.discovery.port import Directory
from common.discovery.static import StaticDirectory
from common.errors import OrdersError
from halfmessage.errors import Misconfigured
from halfmessage.paths import EMBEDDED, file_path

_STATIC: Final = ("", "static")
_ETCD: Final = {"etcd": "http", "etcds": "https"}
_NONE: Final = Certificates()
_ETCD_PORT: Final = 2379
_CONSUL_PORT: Final = 8500
_PREFIX: Final = "orders"


class NoSuchDiscovery(OrdersError):
    """The setting names no directory of instances that there is."""


def open_directory(url: str, addresses: Callable[[str], str], certificates: Certificates = _NONE) -> Directory:
    """Return the directory at `url`; no server is asked yet. `addresses`: of a service, as the settings have them.

    Empty or `static`: those addresses; `embedded:///FOLDER`; `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT][/PREFIX]`,
    `etcds://` the same over TLS, with these certificates; `consul://[:TOKEN@]HOST[:PORT][/PREFIX]`.
    Raise `NoSuchDiscovery`, which does not repeat the URL: it may have a token or a password.
    """
    if fault := certificates.fault(used=url.startswith("etcds://")):
        raise NoSuchDiscovery(fault)
    if url in _STATIC:
        return StaticDirectory(addresses)
    try:
        parts = urlsplit(url)
        if parts.scheme == EMBEDDED:
            return EmbeddedDirectory(file_path(url))
        if parts.scheme in _ETCD and parts.hostname:
            return _etcd(parts, certificates)
        if parts.scheme == "consul" and parts.hostname:
            made: Directory = _adapter("consul", "consul").ConsulDirectory(
                parts.hostname,
                parts.port or _CONSUL_PORT,
                token=unquote(parts.password or ""),
                prefix=parts.path.strip("/") or _PREFIX,
            )
            return made
    except Misconfigured as error:
        raise NoSuchDiscovery(f"ORDERS_DISCOVERY: {error.detail}") from error
    except ValueError:  # a port that is none; it may be a password that nothing follows, and is never told
        raise NoSuchDiscovery("ORDERS_DISCOVERY can't be read: a port is no number from 0 to 65535.") from None
    raise NoSuchDiscovery(
        "ORDERS_DISCOVERY must be static, embedded:///FOLDER, etcd://HOST:PORT, etcds://HOST:PORT or "
        "consul://HOST:PORT."
    )


def _etcd(parts: SplitResult, certificates: Certificates) -> Directory:
    members = [urlsplit(f"//{one.strip()}") for one in parts.netloc.rpartition("@")[2].split(",")]
    login = (unquote(parts.username or ""), unquote(parts.password or ""))
    if "@" in parts.netloc and not all(login):
        raise NoSuchDiscovery("ORDERS_DISCOVERY: a user of etcd has a name and a password: etcd://USER:PASSWORD@HOST.")
    made: Directory = _adapter("etcd", "etcd3gw").EtcdDirectory(
        [(member.hostname or "127.0.0.1", member.port or _ETCD_PORT) for member in members],
        parts.path.strip("/") or _PREFIX,
        protocol=_ETCD[parts.scheme],
        login=login if all(login) else None,
        certificates=certificates,
    )
    return made


def _adapter(name: str, library: str) -> Any:
    """Return an adapter's module: its library is an extra, and loaded by those who use it."""
    try:
        return import_module(f"common.discovery.{name}")
    except ModuleNotFoundError as error:
        raise NoSuchDiscovery(
            f"ORDERS_DISCOVERY=…{name}:// needs {library}: pip install 'orders-on-rocketmq[{name}]'."
        ) from error
