"""The OpenAPI documents of all services, of none that runs: each is built on an empty database, and asked."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import registry
from common.config import Settings
from common.web import openapi
from common.web.api import Api
from halfmessage.errors import HalfMessageError
from halfmessage.paths import EMBEDDED, SQLITE, file_url


def documents() -> dict[str, dict[str, Any]]:
    """Return the document of each service that has calls for people, by its name."""
    with TemporaryDirectory() as folder:
        return {
            service.name: openapi.document(_api(service.name, Path(folder)))
            for service in registry.SERVICES
            if not service.pages
        }


def _api(name: str, folder: Path) -> Api:
    settings = Settings(
        port=0,
        jwt_secret="x" * 32,
        database_url=file_url(SQLITE, folder / f"{name}.db"),
        broker_url=file_url(EMBEDDED, folder / "broker.db"),
        failpoints="",
    )
    service = import_module(f"{name}.app").build(settings)
    for stop in service.stop:
        with suppress(HalfMessageError):  # it was never started
            stop()
    api: Api = service.api
    return api
