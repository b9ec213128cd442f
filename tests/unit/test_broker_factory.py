"""URLs of brokers."""

from pathlib import Path

import pytest

from common.errors import OrdersError
from common.mq.factory import open_broker
from common.mq.port import BrokerOptions


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
        ("rocketmq://127.0.0.1:8081", "not in this build yet"),
        ("rocketmq4://127.0.0.1:9876", "not in this build yet"),
        ("kafka://127.0.0.1", "No broker is named 'kafka'.*embedded:///"),
        ("", "No broker"),
        ("embedded://host/broker.db", "no host"),
        ("embedded:///", "names a file"),
    ],
)
def test_wrong_url(url: str, match: str) -> None:
    """What is no broker of this build is refused, with what is."""
    with pytest.raises(OrdersError, match=match):
        open_broker(url, BrokerOptions())
