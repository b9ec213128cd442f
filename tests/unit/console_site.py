"""The console without its neighbours: built whole, on files of its own, and asked in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common import migrations
from common.auth import issue
from common.config import Settings
from common.process import Service
from common.registry import NAMES
from console.app import build
from console.clients.services import Services
from console.pages.viewer import COOKIE

SECRET = "k3X9q2L8r5W7y4H6p1G0s" * 2


def play(monkeypatch: pytest.MonkeyPatch, played: Any) -> None:
    """Have `played.get` and `played.post` answer in the place of the services."""
    for method in ("get", "post"):
        monkeypatch.setattr(Services, method, lambda _, *args, to=method, **asked: getattr(played, to)(*args, **asked))


def settings(folder: Path, **given: Any) -> Settings:
    """Return settings of a console whose neighbours do not answer."""
    nowhere = {f"{name}_url": f"http://127.0.0.1:{number}" for number, name in enumerate(NAMES, 9)}
    return Settings(
        **{
            "port": 0,
            "jwt_secret": SECRET,
            "database_url": f"sqlite:///{folder}/console.db",
            "broker_url": f"embedded:///{folder}/broker.db",
            **nowhere,
            **given,
        }
    )


@contextmanager
def running(folder: Path, **given: Any) -> Iterator[Service]:
    """Return the console, with a database; closed afterwards."""
    chosen = settings(folder, **given)
    migrations.upgrade("console", chosen.database_url)
    service = build(chosen)
    try:
        yield service
    finally:
        for stop in service.stop:
            stop()


def token(user: str = "root", scopes: tuple[str, ...] = ("orders", "admin"), lifetime: float = 3600.0) -> str:
    """Return a token that the console takes."""
    return issue(SECRET, user, scopes, lifetime)


class Browser:
    """What a browser does, of which a test sees every step: it follows nothing by itself."""

    def __init__(self, service: Service, logged_in: str | None = None) -> None:
        """Take the console, and the token of who has logged in."""
        self.service = service
        self.client: FlaskClient = service.api.app.test_client()
        if logged_in is not None:
            self.client.set_cookie(COOKIE, logged_in, domain="localhost")

    def get(self, path: str, **headers: str) -> TestResponse:
        """Load a page."""
        return self.client.get(path, headers={"Accept": "text/html", **_written(headers)})

    def post(self, path: str, fields: dict[str, Any], **headers: str) -> TestResponse:
        """Send a form."""
        return self.client.post(path, data=fields, headers={"Accept": "text/html", **_written(headers)})


def _written(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
