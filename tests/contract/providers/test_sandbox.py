"""The contract of providers on the sandbox: the real application, with its own books, over HTTP."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import func, select
from werkzeug.serving import make_server

from common import migrations
from common import sandbox as agreed
from common.db import Database
from pay.providers.port import Begun, Provider
from pay.providers.sandbox import SandboxProvider
from sandbox.app import build
from sandbox.model import RefundState, refunds
from tests.contract.provider import Callback, ProviderContract
from tests.contract.providers.settings import WITHIN, settings


class SandboxStand:
    """The sandbox's application, but for its worker: callbacks are made here as the worker would send them."""

    currency = "EUR"

    def __init__(self, directory: Path) -> None:
        self.database_url = f"sqlite:///{directory}/sandbox.db"
        migrations.upgrade("sandbox", self.database_url)
        self._settings = settings(database_url=self.database_url)
        service = build(self._settings)
        for start in service.start[:2]:  # all but the worker
            start()
        self.client = service.api.app.test_client()
        self._server = make_server("127.0.0.1", 0, service.api.app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self._stop = service.stop
        self.provider = self.at(f"http://127.0.0.1:{self._server.server_port}")

    def at(self, url: str, *, within: float = WITHIN) -> Provider:
        return SandboxProvider(settings(sandbox_url=url, within=within))

    def pay(self, begun: Begun) -> None:
        self.client.post(f"/page/{begun.reference}", data={"choice": "pay"})

    def refunds(self) -> int:
        database = Database(self.database_url)
        with database.read() as connection:
            query = select(func.count()).select_from(refunds).where(refunds.c.state == RefundState.DONE)
            done: int = connection.execute(query).scalar_one()
        database.close()
        return done

    def callback(self, begun: Begun, *, at: float, foreign: bool = False) -> Callback:
        header = {"Authorization": f"Bearer {agreed.api_key(self._settings.jwt_secret)}"}
        session = self.client.get(f"/sessions/{begun.reference}", headers=header).json
        whose = {name: session[name] for name in ("payment_id", "reference")}
        return self._signed(orjson.dumps(session["events"][0] | whose), at, foreign=foreign)

    def garbage(self) -> Callback:
        return self._signed(b'["nonsense"]', time.time())

    def _signed(self, raw: bytes, at: float, *, foreign: bool = False) -> Callback:
        key = b"another key" if foreign else agreed.callback_key(self._settings.jwt_secret)
        return {agreed.SIGNATURE_HEADER.lower(): agreed.signature(key, raw, int(at))}, raw

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for stop in self._stop:
            stop()


class TestSandbox(ProviderContract):
    """See `ProviderContract`."""

    @pytest.fixture
    def stand(self, tmp_path: Path) -> Iterator[SandboxStand]:
        stand = SandboxStand(tmp_path)
        yield stand
        stand.close()
