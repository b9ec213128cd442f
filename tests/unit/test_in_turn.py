"""Tests that take turns: each runs in one of the turns, all else in every one."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest

ROOT = Path(__file__).parents[2]


class Found:
    """A test that was found."""

    path = ROOT / "tests" / "real" / "test_x.py"

    def __init__(self, name: str, *marks: str) -> None:
        self.name, self.marks = name, marks

    def get_closest_marker(self, name: str) -> Any:
        return SimpleNamespace(args=("",)) if name in self.marks else None

    def add_marker(self, _: object) -> None:
        raise AssertionError("no other marker is due")


def run(turn: str) -> tuple[list[str], list[str]]:
    """Return which tests run in a turn, and which are told to be left out."""
    items = [Found(f"long {n}", "in_turn") for n in range(5)] + [Found("short")]
    left_out: list[Found] = []
    hook = SimpleNamespace(pytest_deselected=lambda **told: left_out.extend(told["items"]))
    config = SimpleNamespace(getoption=lambda _: conftest._part(turn), hook=hook, rootpath=ROOT)
    for item in items:
        item.config = config  # type: ignore[attr-defined]
    conftest.pytest_collection_modifyitems(config, items)  # type: ignore[arg-type]
    return [item.name for item in items], sorted(item.name for item in left_out)


def test_each_runs_in_one_turn() -> None:
    """And what is not marked runs in all of them."""
    turns = [run(f"{number}/3") for number in (1, 2, 3)]
    assert [ran for ran, _ in turns] == [
        ["long 0", "long 3", "short"],
        ["long 1", "long 4", "short"],
        ["long 2", "short"],
    ]
    assert all(sorted([*ran, *left]) == [*(f"long {n}" for n in range(5)), "short"] for ran, left in turns)
    assert run("1/1") == ([*(f"long {n}" for n in range(5)), "short"], [])


@pytest.mark.parametrize("wrong", ["", "0/4", "5/4", "1", "1/", "a/b", "-1/4"])
def test_a_turn_that_is_none_is_refused(wrong: str) -> None:
    """In words, not by running nothing."""
    with pytest.raises(argparse.ArgumentTypeError, match="is no part of a whole"):
        conftest._part(wrong)
