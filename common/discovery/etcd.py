"""etcd 3.4 or newer, through its HTTP gateway (`etcd3gw`): a key for each instance, which goes with its lease.

The list is read every half second, and not watched: etcd3gw 2.7.0 watches on a thread of its own that has no timeout,
and that ends without a word when the connection does (`etcd3gw/watch.py`).
"""

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Final, TypeVar

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from etcd3gw.lease import Lease

from common.discovery.certificates import Certificates
from common.discovery.port import ANSWERS_WITHIN, DiscoveryUnavailable, Instance, Listing

T = TypeVar("T")

_LOG_IN_WITHIN: Final = 10.0  # seconds: a password costs etcd a tenth of a core's second, and all may log in at once
_HEADER: Final = "Authorization"  # has the token: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/#authentication
_API: Final = "/v3/"  # since etcd 3.4: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/


class EtcdDirectory:
    """Implements `Directory` on etcd: the key `<prefix>/<service>/<url>`, whose value is the URL."""

    changes: ClassVar[bool] = True

    def __init__(
        self,
        members: Sequence[tuple[str, int]],
        prefix: str,
        *,
        protocol: str = "http",
        login: tuple[str, str] | None = None,
        certificates: Certificates,
    ) -> None:
        """Take hosts and ports of the cluster's members, asked in turn until one answers, and where our keys begin.

        `login`: name and password of a user of etcd; None: it asks for none. `certificates`: used with `https`.
        """
        self._prefix, self._login = prefix.strip("/"), login
        self._session = session = requests.Session()
        session.trust_env = False  # what proxies of the environment are for is elsewhere
        session.verify = str(certificates.authority) if certificates.authority else True
        session.cert = (str(certificates.own), str(certificates.key)) if certificates.own else None
        self._clients = [
            Etcd3Client(host, port, protocol, api_path=_API, timeout=ANSWERS_WITHIN, session=session)
            for host, port in members
        ]
        self._leases: dict[Instance, int] = {}
        self._guard = threading.Lock()

    def put(self, instance: Instance, ttl: int) -> None:
        """See `Directory`: a lease is kept alive, and a new one taken when it is gone."""
        self._ask(lambda client: self._put(client, instance, ttl))

    def withdraw(self, instance: Instance) -> None:
        """See `Directory`. The key goes at once, its lease by itself."""
        self._leases.pop(instance, None)
        self._ask(lambda client: client.delete(self._key(instance)))

    def read(self, services: Collection[str]) -> Listing:
        """See `Directory`."""
        pairs = self._ask(lambda client: client.get_prefix(f"/{self._prefix}/"))
        found: dict[str, list[str]] = {name: [] for name in services}
        for value, about in pairs:
            service = about["key"].decode(errors="replace").removeprefix(f"/{self._prefix}/").partition("/")[0]
            if service in found:
                found[service].append(value.decode(errors="replace"))
        return {name: sorted(urls) for name, urls in found.items()}

    def close(self) -> None:
        """See `Directory`."""
        self._session.close()

    def _put(self, client: Etcd3Client, instance: Instance, ttl: int) -> None:
        known = self._leases.get(instance)
        if known is not None and Lease(known, client).refresh() > 0:
            return
        lease = client.lease(ttl)
        client.put(self._key(instance), instance.url, lease)
        self._leases[instance] = lease.id

    def _key(self, instance: Instance) -> str:
        return f"/{self._prefix}/{instance.service}/{instance.url}"

    def _ask(self, question: Callable[[Etcd3Client], T]) -> T:
        """Return what a member answers: the one that did last, or else the others. Raise `DiscoveryUnavailable`."""
        reason = ""
        with self._guard:
            for client in self._clients.copy():
                try:
                    return self._known_to(client, question)
                except (Etcd3Exception, OSError, KeyError, ValueError) as error:  # OSError: requests', or of a file
                    reason = f"{client.host}:{client.port}: {_words(error)}"
                    self._clients.append(self._clients.pop(0))
        raise DiscoveryUnavailable(f"etcd does not answer ({reason}).")

    def _known_to(self, client: Etcd3Client, question: Callable[[Etcd3Client], T]) -> T:
        """Return the answer; where etcd does not know us, log in, and ask once more."""
        try:
            return question(client)
        except Etcd3Exception as error:
            if self._login is None or not _is_stranger(error):
                raise
        name, password = self._login
        self._session.headers.pop(_HEADER, None)
        patient = Etcd3Client(
            client.host, client.port, client.protocol, api_path=_API, timeout=_LOG_IN_WITHIN, session=self._session
        )
        answer = patient.post(patient.get_url("/auth/authenticate"), json={"name": name, "password": password})
        self._session.headers[_HEADER] = answer["token"]
        return question(client)


def _is_stranger(error: Etcd3Exception) -> bool:
    """Whether etcd does not know us: no token yet, or it is over, of an etcd that was restarted, or of other rights.

    The words are those of https://github.com/etcd-io/etcd/blob/v3.4.23/etcdserver/api/v3rpc/rpctypes/error.go: the
    library tells no code.
    """
    return any(said in _words(error) for said in ("user name is empty", "invalid auth token", "auth store is old"))


def _words(error: Any) -> str:
    return str(getattr(error, "detail_text", None) or error)[:200]
