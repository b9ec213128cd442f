"""URLs of brokers."""

import sys
from pathlib import Path

import pytest

from halfmessage.errors import HalfMessageError, Misconfigured
from halfmessage.mq.factory import open_broker, split_prefix
from halfmessage.mq.port import BrokerOptions


def test_absolute_path(tmp_path: Path) -> None:
    """Four slashes name an absolute path; percent signs are decoded."""
    open_broker(f"embedded:///{tmp_path}/a%20b.db", BrokerOptions()).close()
    assert (tmp_path / "a b.db").exists()


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes name a path relative to where the process runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    open_broker("embedded:///var/broker.db", BrokerOptions()).close()
    assert (tmp_path / "var" / "broker.db").exists()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("rocketmq://127.0.0.1", r"shape rocketmq://\[key:secret@\]host:port"),
        ("rocketmq://127.0.0.1:x", "shape rocketmq://.*numbers"),
        ("rocketmq://127.0.0.1:8081?pol=1", "shape rocketmq://"),
        ("rocketmq4://127.0.0.1", "looks like rocketmq4://host:9876"),
        ("kafka://127.0.0.1", "No broker is named 'kafka'.*embedded:///"),
        ("", "No broker"),
        ("embedded://host/broker.db", "no host"),
        ("embedded:///", "names a file"),
    ],
)
def test_wrong_url(url: str, match: str) -> None:
    """What is no broker of this build is refused, with what is."""
    with pytest.raises(HalfMessageError, match=match):
        open_broker(url, BrokerOptions())


def test_rocketmq_without_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, or with the other client that has its name, the error says what to install, and where."""
    monkeypatch.setitem(sys.modules, "rocketmq.v5.log.log_config", sys)
    for module in [name for name in sys.modules if name.startswith("halfmessage.mq.rocketmq_grpc.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "rocketmq", None)
    with pytest.raises(HalfMessageError, match=r"pip install '\.\[rocketmq\]'.*without '\.\[rocketmq4\]'"):
        open_broker("rocketmq://127.0.0.1:8081", BrokerOptions())


def test_a_name_server_is_host_and_port() -> None:
    """Where the URL names one that can't be asked, it is said at once, without what else is in the URL."""
    with pytest.raises(Misconfigured, match="HOST:PORT") as refused:
        open_broker("rocketmq://key:hidden@127.0.0.1:8081?namesrv=9876", BrokerOptions())
    assert "hidden" not in refused.value.detail


def test_a_prefix_is_taken_from_a_rocketmq_s_url() -> None:
    """What else is in the query is the adapter's, and stays; no prefix changes nothing."""
    url = "rocketmq://k:s@h:1?min_invisible=1&prefix=mine&poll=1"
    assert split_prefix(url) == ("rocketmq://k:s@h:1?min_invisible=1&poll=1", "mine")
    assert split_prefix("rocketmq://h:1") == ("rocketmq://h:1", "")
