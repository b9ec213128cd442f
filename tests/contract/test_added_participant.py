"""The participant that docs/add-a-participant.md makes is small, and keeps the contract of all participants."""

import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.added_participant import BLOCKS, write

pytestmark = pytest.mark.P6

_MOST_LINES = 120  # of a participant and its client at order, blank ones not counted

_WRITTEN = TemporaryDirectory()
write(Path(_WRITTEN.name))
sys.path += [_WRITTEN.name, f"{_WRITTEN.name}/tests/contract"]
TestGiftwrap = importlib.import_module("test_giftwrap_participant").TestGiftwrap


def test_it_is_small() -> None:
    """A participant is what taking and giving back mean: all of it is under 120 lines."""
    own = "".join(code for path, code in BLOCKS.items() if path.startswith(("giftwrap/", "order/")))
    assert sum(1 for line in own.splitlines() if line) < _MOST_LINES
