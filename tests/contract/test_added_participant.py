"""The participant that docs/add-a-participant.md makes: its blocks of code are what is tested here."""

import importlib
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import insert

from common import schema_version
from common.auth import issue
from common.config import Settings
from common.db import Database
from common.registry import ROLLBACK_TOPIC
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions
from halfmessage.participant.event import OrderEvent
from tests.support import eventually

_PAGE = Path(__file__).parents[2] / "docs" / "add-a-participant.md"
_BLOCK = re.compile(r"```python\n# (?P<path>\S+)\n(?P<code>.*?)```", re.DOTALL)
_BLOCKS = {match["path"]: match["code"] for match in _BLOCK.finditer(_PAGE.read_text(encoding="utf-8"))}
_PACKAGE = "giftwrap"
_MOST_LINES = 120  # of a participant, blank ones not counted
_SECRET = "s" * 32


def _write(directory: Path) -> None:
    """Write the page's modules below `directory`, packages in it and the test beside them."""
    for path, code in _BLOCKS.items():
        file = directory / path.removeprefix("tests/contract/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(code, encoding="utf-8")
    (directory / _PACKAGE / "__init__.py").touch()


_WRITTEN = TemporaryDirectory()
_write(Path(_WRITTEN.name))
sys.path.append(_WRITTEN.name)
TestGiftwrap = importlib.import_module("test_giftwrap_participant").TestGiftwrap
model = importlib.import_module(f"{_PACKAGE}.model")
build = importlib.import_module(f"{_PACKAGE}.app").build


def test_it_is_small() -> None:
    """A participant is what taking and giving back mean: all of it is under 120 lines."""
    own = "".join(code for path, code in _BLOCKS.items() if path.startswith(f"{_PACKAGE}/"))
    assert sum(1 for line in own.splitlines() if line) < _MOST_LINES


def test_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service takes a wrap over its internal calls, and gives it back when a rollback comes."""
    monkeypatch.setattr(schema_version, "require", lambda *_: None)  # its migration is in the page's words only
    urls = {"database_url": f"sqlite:///{tmp_path}/giftwrap.db", "broker_url": f"embedded:///{tmp_path}/broker.db"}
    database = Database(urls["database_url"])
    model.metadata.create_all(database.engine)
    database.transact(lambda connection: connection.execute(insert(model.wraps), {"wrap_id": 1, "available": 1}))
    service = build(Settings(port=0, jwt_secret=_SECRET, **urls))  # type: ignore[arg-type]
    for start in service.start:
        start()
    http, token = service.api.app.test_client(), issue(_SECRET, "order", ["service"], 60)
    headers = {"Authorization": f"Bearer {token}"}
    wanted = {"tx_id": "5", "orders": [{"order_id": "7", "wrap_id": "1"}, {"order_id": "8", "wrap_id": "1"}]}
    assert http.post("/reservations", json=wanted, headers=headers).get_json() == {
        "orders": [
            {"order_id": "7", "verdict": "deducted", "wrap_id": None},
            {"order_id": "8", "verdict": "sold-out", "wrap_id": "1"},
        ]
    }
    broker = open_broker(urls["broker_url"], BrokerOptions())
    broker.producer("order").send(OrderEvent(tx_id=5, order_ids=(7,)).to_message(ROLLBACK_TOPIC))

    def shown() -> dict[str, str]:
        answer: dict[str, str] = http.get("/reservations/7", headers=headers).get_json()
        return answer

    eventually(lambda: shown()["state"] == "released")
    assert shown()["wrap_id"] == "1"
    for stop in (broker.close, *service.stop, database.close):
        stop()
