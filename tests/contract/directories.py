"""The directories of instances that their contract is tried on."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.discovery.factory import open_directory
from common.discovery.port import Directory
from halfmessage.paths import EMBEDDED, file_url
from tests.etcd_server import EtcdServer

Open = Callable[[], Directory]
"""Opens one more link to the same list."""

KINDS = ("embedded", "etcd", "consul")
"""Those whose list changes; what is static has a test of its own."""


def _nowhere(_: str) -> str:
    raise AssertionError


@contextmanager
def opening(kind: str, folder: Path) -> Iterator[Open]:
    """Lend what opens links to a list that was empty."""
    if kind == "embedded":
        url, server = file_url(EMBEDDED, folder / "list"), None
    elif kind == "etcd":
        server = EtcdServer(folder)
        url = server.url
    else:
        if (named := os.environ.get("ORDERS_TEST_CONSUL")) is None:
            pytest.skip("ORDERS_TEST_CONSUL names no Consul (HOST:PORT)")
        url, server = f"consul://{named}/t{uuid.uuid4().hex[:8]}", None
    opened: list[Directory] = []

    def link() -> Directory:
        opened.append(open_directory(url, _nowhere))
        return opened[-1]

    try:
        yield link
    finally:
        for one in opened:
            one.close()
        if server is not None:
            server.kill()
