"""Sends callbacks: one signed POST each, over kept-alive connections."""

import time
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from common.sandbox import SIGNATURE_HEADER, signature

WITHIN: Final = 3.0  # seconds for each piece of one exchange
_HOSTS: Final = 16  # whose connections are kept
_LONGEST_ANSWER: Final = 1024  # bytes that are read
_OK: Final = range(200, 300)


class Poster:
    """Posts callbacks."""

    def __init__(self, key: bytes, connections: int) -> None:
        """Sign with `key`; keep so many `connections` to each receiver."""
        self._key = key
        self._pools = urllib3.PoolManager(num_pools=_HOSTS, maxsize=connections, retries=False)

    def post(self, url: str, raw: bytes) -> tuple[bool, str]:
        """Send `raw` to the receiver whose base URL is `url`; return whether it was taken, and the answer."""
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(self._key, raw, int(time.time()))}
        try:
            response = self._pools.request(
                "POST",
                f"{url}/callbacks/sandbox",
                body=raw,
                headers=headers,
                timeout=urllib3.Timeout(connect=WITHIN, read=WITHIN),
                redirect=False,
                preload_content=False,
            )
            told = response.read(_LONGEST_ANSWER).decode(errors="replace")
            response.drain_conn()
            response.release_conn()
        except (HTTPError, ValueError) as error:  # ValueError: no URL that one can connect to
            return False, type(error).__name__
        return response.status in _OK, f"{response.status} {told}"

    def close(self) -> None:
        """Close the kept connections."""
        self._pools.clear()
