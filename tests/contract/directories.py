"""The directories of instances that their contract is tried on."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.discovery.certificates import Certificates
from common.discovery.factory import open_directory
from common.discovery.port import Directory
from halfmessage.paths import EMBEDDED, file_url
from tests.etcd_server import EtcdServer, SecuredEtcdServer

Open = Callable[[], Directory]
"""Opens one more link to the same list."""

KINDS = ("embedded", "etcd", "etcds", "consul")
"""Those whose list changes; what is static has a test of its own."""


def _nowhere(_: str) -> str:
    raise AssertionError


@contextmanager
def opening(kind: str, folder: Path) -> Iterator[Open]:
    """Lend what opens links to a list that was empty."""
    if kind == "embedded":
        url, server = file_url(EMBEDDED, folder / "list"), None
    elif kind in {"etcd", "etcds"}:
        server = EtcdServer(folder) if kind == "etcd" else SecuredEtcdServer(folder)
        url = server.url
    else:
        if (named := os.environ.get("ORDERS_TEST_CONSUL")) is None:
            pytest.skip("ORDERS_TEST_CONSUL names no Consul (HOST:PORT)")
        url, server = f"consul://{named}/t{uuid.uuid4().hex[:8]}", None
    opened: list[Directory] = []

    def link() -> Directory:
        certificates = Certificates() if server is None else server.certificates
        opened.append(open_directory(url, _nowhere, certificates))
        return opened[-1]

    try:
        yield link
    finally:
        for one in opened:
            one.close()
        if server is not None:
            server.kill()
