"""The services by REST, with the token of who looks: what they do not let it see or do, the pages do not either."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from common.config import Settings
from common.errors import OrdersError, PeerUnavailable
from common.our_tokens import tokens_of
from common.peer import Peer
from common.registry import NAMES
from halfmessage.errors import NotFound

DEADLINE = 2.0  # seconds for a call, all tries together
_CONNECTIONS = 8  # kept to each instance
_ACTS = 5.0  # seconds for a call that changes something, which may ask others in turn


class Refused(OrdersError):
    """A service refused what was asked for; its words say why."""

    status, slug, title = 409, "refused", "Refused"


class Services:
    """Calls to the services, each in the name of a viewer."""

    def __init__(self, settings: Settings) -> None:
        """Take where the services are; no connection is made before the first call."""
        own = tokens_of(settings, "console")

        def peer(name: str) -> Peer:
            return Peer(name, settings.url(name), own(name), timeout=_ACTS, connections=_CONNECTIONS)

        self._peers = {name: peer(name) for name in NAMES}

    def get(self, service: str, path: str, token: str, **query: str | int | None) -> Mapping[str, Any]:
        """Return the JSON object at `path`, asked for with the viewer's token.

        Raise `NotFound`, `Refused` with the service's words, or `PeerUnavailable` for no answer in `DEADLINE` seconds.
        """
        given = {name: value for name, value in query.items() if value is not None}
        where = f"{path}?{urlencode(given)}" if given else path
        return self._answer(service, lambda: self._peers[service].call("GET", where, token=token, within=DEADLINE))

    def post(
        self, service: str, path: str, token: str, body: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Mapping[str, Any]:
        """Have something done with the viewer's token, once for each Idempotency-Key `key`; return the answer.

        Raise as `get` does. After `PeerUnavailable` it is not known whether it was done.
        """
        return self._answer(service, lambda: self._peers[service].call("POST", path, body, token=token, key=key))

    def put(self, service: str, path: str, token: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have something set with the viewer's token; return the answer. Raise as `post` does."""
        return self._answer(service, lambda: self._peers[service].call("PUT", path, body, token=token))

    def close(self) -> None:
        """Close the kept connections."""
        for peer in self._peers.values():
            peer.close()

    @staticmethod
    def _answer(service: str, call: Callable[[], tuple[int, Any]]) -> Mapping[str, Any]:
        status, answer = call()
        if not isinstance(answer, dict):
            raise PeerUnavailable(f"The {service} service answered with something else than it says it does.")
        if status < 400:  # noqa: PLR2004 - a status class
            return answer
        detail = str(answer.get("detail", "")) or f"The {service} service answered with status {status}."
        if status == 404:  # noqa: PLR2004
            raise NotFound(detail)
        raise Refused(detail)
