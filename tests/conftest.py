"""What all tests share."""

from collections.abc import Iterator

import pytest
import structlog

from tests.databases import USE_CASES


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    """Drop what the tests of use cases made on a real server."""
    yield
    USE_CASES.close()


@pytest.fixture(autouse=True)
def _no_context() -> None:
    """Begin each test without what requests of another one bound to its log lines."""
    structlog.contextvars.clear_contextvars()
