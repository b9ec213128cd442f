"""An etcd that speaks TLS and wants a password: who is let in, and what is said to others; never the password."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from common.discovery.certificates import Certificates
from common.discovery.factory import open_directory
from common.discovery.port import Directory, DiscoveryUnavailable, Instance
from tests.authority import Authority
from tests.etcd_server import SecuredEtcdServer

pytestmark = pytest.mark.embedded("etcd is a server of its own")

ONE = Instance("stock", "http://127.0.0.1:8002")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredEtcdServer]:
    """Run one for all tests."""
    server = SecuredEtcdServer(tmp_path_factory.mktemp("etcd"), prefix="shop")
    yield server
    server.kill()


def opened(server: SecuredEtcdServer, certificates: Certificates | None = None, path: str = "/shop") -> Directory:
    return open_directory(server.url + path, str, certificates or server.certificates)


def refused(directory: Directory) -> str:
    """Return what is said of a question that is not answered."""
    with closing(directory), pytest.raises(DiscoveryUnavailable) as failed:
        directory.read(["stock"])
    told = f"{failed.value.detail} {failed.value!r} {directory!r} {vars(failed.value)}"
    assert SecuredEtcdServer.PASSWORD not in told
    assert "p%3Aa" not in told
    return failed.value.detail


def test_its_tokens_are_lost(server: SecuredEtcdServer) -> None:
    """Over, as each is after a while, or of an etcd that starts anew: we log in again, and no caller is told of it."""
    with closing(opened(server)) as directory:
        directory.put(ONE, 60)
        for lose in (server.end_tokens, server.kill):
            lose()
            if lose == server.kill:
                server.start()
            assert directory.read(["stock"]) == {"stock": [ONE.url]}
            directory.put(ONE, 60)


def test_a_wrong_password(server: SecuredEtcdServer) -> None:
    """It is as a list that can't be read."""
    url = server.url_of(server.USER, "p:another") + "/shop"
    assert "authentication failed" in refused(open_directory(url, str, server.certificates))


def test_keys_of_others(server: SecuredEtcdServer) -> None:
    """Its user has rights to the keys below its prefix, and needs no others."""
    assert "permission denied" in refused(opened(server, path="/others"))


def test_who_has_no_certificate(server: SecuredEtcdServer, tmp_path: Path) -> None:
    """None, or one of another authority: the connection ends, of which a client hears an alert or nothing."""
    strange, key = Authority(tmp_path).issue("stranger")
    for own, private in ((None, None), (strange, key)):
        refused(opened(server, replace(server.certificates, own=own, key=private)))
    with closing(opened(server)) as directory:
        directory.read(["stock"])


def test_a_server_that_is_another(server: SecuredEtcdServer, tmp_path: Path) -> None:
    """One whose certificate is of no authority that we trust gets no password."""
    others = replace(server.certificates, authority=Authority(tmp_path).certificate)
    for certificates in (others, replace(server.certificates, authority=None)):
        assert "CERTIFICATE_VERIFY_FAILED" in refused(opened(server, certificates))


def test_a_certificate_that_is_gone(server: SecuredEtcdServer, tmp_path: Path) -> None:
    """A file that was removed while we run is as a server that is down."""
    copy = tmp_path / "ca.pem"
    copy.write_bytes(server.authority.certificate.read_bytes())
    directory = opened(server, replace(server.certificates, authority=copy))
    copy.unlink()
    assert str(copy) in refused(directory)
