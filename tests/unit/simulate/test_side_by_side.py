"""Runs in several processes. They are forked where no run was made: no simulator is at work in this module's tests."""

import multiprocessing
import os
from pathlib import Path

import pytest

from lab.simulate.side_by_side import side_by_side
from lab.simulate.templates import templates
from ops.errors import CommandFailed


def test_runs_side_by_side_are_the_same_runs() -> None:
    """Each seed is run once, and fails in the same way: a run knows nothing of how many processes make others."""
    seeds = range(6)
    with templates() as files:
        with side_by_side(seeds, 3, files) as many:
            ran = {one.seed: one.failed for one in many}
        with side_by_side(range(10_000), 2, files) as many:
            next(many)  # the others are not made
    assert ran == dict.fromkeys(seeds, False)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its seeds were not run: that is no sound result."""
    monkeypatch.setattr("lab.simulate.templates._MEMORY", tmp_path)  # what it leaves behind is deleted with all else
    monkeypatch.setattr("lab.simulate.side_by_side.alone", lambda *_: os._exit(3))
    with templates() as files, side_by_side(range(4), 2, files) as many, pytest.raises(CommandFailed, match="died"):
        list(many)
