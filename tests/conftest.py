"""What all tests share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.databases import USE_CASES
from tests.stack import REAL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip on real servers what has nothing to say of them."""
    for item in items:
        if REAL and (marker := item.get_closest_marker("embedded")):
            item.add_marker(pytest.mark.skip(reason=f"on the embedded broker and SQLite only: {marker.args[0]}"))


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    """Drop what the tests of use cases made on a real server."""
    yield
    USE_CASES.close()


@pytest.fixture(autouse=True)
def _no_context() -> None:
    """Begin each test without what requests of another one bound to its log lines."""
    structlog.contextvars.clear_contextvars()
