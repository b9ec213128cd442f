"""Histories in Jepsen's form: what its checkers rely on, read back by a library of EDN."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import edn_format
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as some

from lab.cli import main
from lab.drill.nemesis import jepsen
from lab.drill.nemesis.history import Entry
from tests.unit.nemesis.story import order, problem, sent

_UNKNOWN = problem(503, "outcome-unknown")
_FAULT = {"kind": "kill", "target": "order", "at": 0.5, "seconds": 0.0, "settings": {}, "began": 0.5, "ended": 0.75}


def _entry(op: str, invoked: float, answered: float | None, status: int | None, body: Any = None, **more: Any) -> Entry:
    return Entry("u", op, "o", "order", invoked, answered, status, body, **more)


def _types(lines: list[jepsen.Operation], process: object) -> list[str]:
    return [line["type"] for line in lines if line["process"] == process]


@pytest.mark.parametrize(
    ("op", "status", "body", "expected"),
    [
        ("place", 201, None, "ok"),
        ("submit", 202, None, "ok"),
        ("place", 409, problem(409, "insufficient-stock"), "fail"),
        ("place", 503, problem(503, "unavailable"), "fail"),
        ("pay", 503, problem(503, "unavailable"), "info"),
        ("pay", 503, _UNKNOWN, "info"),
        ("cancel", 500, None, "info"),
        ("place", None, None, "info"),
        ("look", None, None, "fail"),
        ("list", 500, None, "fail"),
    ],
)
def test_outcomes(op: str, status: int | None, body: Any, expected: str) -> None:
    """Only what certainly did not happen is `fail`; a read without an answer changed nothing."""
    assert jepsen.outcome(_entry(op, 0.0, 1.0, status, body)) == expected


def test_a_process_has_one_call_in_hand_and_none_after_one_whose_outcome_is_unknown() -> None:
    """Calls of one user at the same moment have processes of their own; one that got `info` asks nothing more."""
    history = [
        _entry("place", 0.0, 1.0, 201, order("1", "o")),
        _entry("place", 0.0, 1.0, 503, _UNKNOWN),
        _entry("pay", 1.5, None, None, order_id="1", why="cut"),
        _entry("look", 2.0, 2.5, 200, order("1", "o")),
        _entry("look", 3.0, 3.5, 200, order("1", "o")),
    ]
    lines = jepsen.operations(history)
    assert [line["index"] for line in lines] == list(range(10))
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert _types(lines, 0) == ["invoke", "ok", "invoke", "info"]  # it paid, and was not answered
    assert _types(lines, 1) == ["invoke", "info"]
    assert _types(lines, 2) == ["invoke", "ok", "invoke", "ok"]
    assert [(line["f"], line["time"], line["error"]) for line in lines if line["type"] == "info"] == [
        ("place", 1_000_000_000, "outcome-unknown"),
        ("pay", 3_500_000_000, "cut"),
    ]


_TIMES = some.integers(0, 20).map(float)
_CALLS = some.lists(
    some.tuples(
        some.sampled_from("uv"),
        some.sampled_from(["place", "pay", "look"]),
        _TIMES,
        some.one_of(some.none(), _TIMES),
        some.sampled_from([200, 409, 500, 503]),
    ),
    max_size=30,
)


@given(_CALLS)
def test_any_history_is_one_of_jepsens(calls: list[tuple[str, str, float, float | None, int]]) -> None:
    """Each process asks, is answered, asks again; after `info` never; and every call is there with its outcome."""
    history = [
        Entry(user, op, "o", "order", at, None if took is None else at + took, None if took is None else status)
        for user, op, at, took, status in calls
    ]
    lines = jepsen.operations(history)
    for process in {line["process"] for line in lines}:
        types = _types(lines, process)
        assert types[::2] == ["invoke"] * len(types[::2])
        assert set(types[1::2]) <= {"ok", "fail", "info"}
        assert "info" not in types[:-1]
        assert len({line["value"]["user"] for line in lines if line["process"] == process}) == 1
    found = Counter(line["type"] for line in lines)
    assert found.pop("invoke", 0) == len(history)
    assert found == Counter(map(jepsen.outcome, history))


def test_it_reads_back(tmp_path: Path) -> None:
    """One map a line, names as keywords, text and ids as strings; faults are the nemesis's; the end is read last."""
    text = 'a "quote", a \\ and\na line 末 €'
    body = order("7", text)
    entries = [_entry("place", 0.25, 1.0, 201, body, sent=sent(text)), _entry("look", 1.0, 2.0, 200, body)]
    final = {"goods": {"12": 100}, "orders": {"u": [body]}}
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))
    (tmp_path / "faults.json").write_text(json.dumps([_FAULT]))
    (tmp_path / "final.json").write_text(json.dumps(final))
    done = CliRunner().invoke(main, ["drill", "edn", str(tmp_path)], catch_exceptions=False)
    assert done.output == f"{tmp_path / 'history.edn'}: 3 operations, the outcome of 0 unknown\n"
    lines = (tmp_path / "history.edn").read_text(encoding="utf-8").split("\n")[:-1]
    read = [{str(key.name): value for key, value in edn_format.loads(line).items()} for line in lines]
    word = edn_format.Keyword
    assert [(one["type"], one["f"], one["process"]) for one in read] == [
        (word("invoke"), word("place"), 0),
        (word("info"), word("kill"), word("nemesis")),
        (word("info"), word("kill"), word("nemesis")),
        (word("invoke"), word("read"), 1),  # at the very moment of the answer: rather at once than in turns
        (word("ok"), word("place"), 0),
        (word("ok"), word("read"), 1),
        (word("invoke"), word("final"), 2),
        (word("ok"), word("final"), 2),
    ]
    assert read[0]["value"][word("sent")][word("receiver")][word("name")] == text
    assert read[0]["time"] == 250_000_000
    assert (read[4]["status"], read[4]["value"][word("answer")][word("status")]) == (201, "created")
    assert read[7]["value"][word("goods")] == {"12": 100}


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    """The directory is named, and nothing is written."""
    done = CliRunner().invoke(main, ["drill", "edn", str(tmp_path)])
    assert done.exit_code != 0
    assert "holds no history of a random run" in f"{done.output}{done.exception}"
    assert not (tmp_path / "history.edn").exists()
