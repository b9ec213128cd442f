"""Each instance of each service: whether it is ready, and what it counts, as it says itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from common.errors import PeerUnavailable

DEADLINE: Final = 2.0  # seconds for an answer, from the first byte sent to the last one read
LARGEST: Final = 1 << 20  # bytes of an answer: some hundred times what a service tells
_READ: Final = 64 * 1024  # bytes at once


@dataclass(frozen=True, slots=True)
class Readiness:
    """What an instance says of what it needs: by the name of a check, `ok` or `failed`."""

    is_ready: bool
    checks: Mapping[str, str]


class Instance:
    """One process of a service."""

    def __init__(self, service: str, name: str, url: str, token: Callable[[], str]) -> None:
        """Take its service, its name, its address, and what gives a bearer token of ours."""
        self.service, self.name, self.url = service, name, url.strip().rstrip("/")
        self._token = token
        parts = urlsplit(self.url)
        self._pool = urllib3.connectionpool.connection_from_url(
            f"{parts.scheme}://{parts.netloc}", maxsize=2, block=False, retries=False
        )

    def readiness(self) -> Readiness:
        """Return whether it is ready. Raise `PeerUnavailable` where it does not say so."""
        status, raw = self._ask("/readyz")
        try:
            answer: Mapping[str, Any] = orjson.loads(raw)
            checks = {str(name): str(result) for name, result in answer["checks"].items()}
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise PeerUnavailable(f"{self.name} answers to /readyz with status {status}, and no checks.") from None
        return Readiness(status == 200, checks)  # noqa: PLR2004 - OK

    def metrics(self) -> str:
        """Return its metrics in Prometheus's text format. Raise `PeerUnavailable`."""
        status, raw = self._ask("/metrics")
        if status != 200:  # noqa: PLR2004 - OK
            raise PeerUnavailable(f"{self.name} answers to /metrics with status {status}.")
        return raw.decode("utf-8", errors="replace")

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()

    def _ask(self, path: str) -> tuple[int, bytes]:
        try:
            answer = self._pool.urlopen(
                "GET",
                path,
                headers={"Authorization": f"Bearer {self._token()}"},
                timeout=urllib3.Timeout(total=DEADLINE),
                redirect=False,
                preload_content=False,
            )
            return answer.status, self._read(answer)
        except HTTPError as error:
            raise PeerUnavailable(f"{self.name} does not answer.") from error

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        """Return the body. Raise `PeerUnavailable` for one that is too large, or takes too long."""
        give_up_at, found = monotonic() + DEADLINE, bytearray()
        while piece := answer.read1(_READ):
            found += piece
            if len(found) > LARGEST or monotonic() > give_up_at:
                answer.close()
                raise PeerUnavailable(f"{self.name} answers with more than {LARGEST} bytes, or too slowly.")
        answer.release_conn()
        return bytes(found)
