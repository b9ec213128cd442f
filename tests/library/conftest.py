"""What tests of messages have in common: the shop on either way out, on the `database` that each module says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from halfmessage import failpoints
from tests.library.shop import Shop


@pytest.fixture(params=["embedded", "table://"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Iterator[Shop]:
    made = Shop.new(tmp_path, request.param, database=database)
    yield made
    made.close()


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("", [])
