"""Planted bugs: each fits the code as it is, names a test that exists, and is told apart from one that does not."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import main
from lab.drill.mutants import runner
from lab.drill.mutants.catalogue import MUTANTS, named
from lab.drill.mutants.mutant import Assign, DoesNotFit, Edit, Mutant
from lab.drill.mutants.runner import Verdict
from ops.errors import CommandFailed

# Those of the gRPC adapter fit where its extra is installed; `./scripts/drill mutants` installs it and plants them all.
_PLANT_ALL = """
from importlib.util import find_spec
from lab.drill.mutants.catalogue import MUTANTS
for mutant in MUTANTS:
    if find_spec("rocketmq") or not mutant.test.startswith("tests/unit/rocketmq_grpc/"):
        mutant.plant()
"""


def double(number: int, *, plus: int = 1) -> int:
    return number * 2 + plus


class Counter:
    start = 3

    @staticmethod
    def count(number: int) -> int:
        return number + 1


@pytest.fixture
def _restored() -> Iterator[None]:
    codes, start = (double.__code__, Counter.count.__code__), Counter.start
    yield
    double.__code__, Counter.count.__code__ = codes
    Counter.start = start


def test_every_mutant_fits() -> None:
    """What each one changes is there, in this very version of the code."""
    subprocess.run([sys.executable, "-c", _PLANT_ALL], check=True, cwd=runner.root())


def test_every_mutant_names_a_test_that_exists() -> None:
    """So that none is caught by nothing, and each name is one mutant's."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25
    for mutant in MUTANTS:
        file, _, test = mutant.test.partition("[")[0].partition("::")
        if "::" in test:  # a class may have it from a suite
            module = import_module(file.removesuffix(".py").replace("/", "."))
            assert callable(attrgetter(test.replace("::", "."))(module)), mutant.name
            continue
        tree = ast.parse((runner.root() / file).read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test in functions, mutant.name


@pytest.mark.usefixtures("_restored")
def test_an_edit_changes_the_function_itself() -> None:
    """A module that holds the function has the changed one; defaults stay as they are."""
    held = double
    Edit(f"{__name__}:double", (("* 2", "* 3"),)).plant()
    assert held(5) == 16
    Edit(f"{__name__}:Counter.count", (("+ 1", "- 1"),)).plant()
    assert Counter.count(5) == 4


@pytest.mark.usefixtures("_restored")
def test_an_assignment_makes_a_value_of_the_one_before() -> None:
    """Names of classes and modules alike."""
    Assign(f"{__name__}:Counter.start", lambda value: value + 1).plant()
    assert Counter.start == 4


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("double", "* 7"),
        ("double", "number"),
        ("triple", "* 2"),
        ("Counter", "3"),
    ],
    ids=["not there", "there twice", "no such function", "no function"],
)
def test_a_mutant_that_does_not_fit_says_so(function: str, text: str) -> None:
    """A mutant of code that has changed is not a bug that was caught."""
    with pytest.raises(DoesNotFit):
        Edit(f"{__name__}:{function}", ((text, "0"),)).plant()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a test that is run in place of ours."""
    file = tmp_path / "test_toy.py"
    file.write_text("def test_toy():\n    assert 1\n", encoding="utf-8")
    monkeypatch.setattr(runner, "root", lambda: tmp_path)
    return file


def _mutant(name: str) -> Mutant:
    (found,) = named([name])
    return Mutant(found.name, found.breaks, "test_toy.py::test_toy", found.changes)


def test_a_survivor_is_told(toy: Path) -> None:
    """A test that passes in spite of the bug has not caught it; one that fails has."""
    mutant = _mutant("fence-missing")
    assert runner.healthy([mutant], jobs=1) == runner.Health(None, ())
    (survived,) = runner.run_all([mutant], jobs=1)
    assert survived.verdict == Verdict.SURVIVED
    assert not survived.caught
    toy.write_text(
        "import inspect\nfrom halfmessage.tx.coordinator import Checker\n\n"
        "def test_toy():\n    assert 'fence' in Checker.outcome.__code__.co_names\n",
        encoding="utf-8",
    )
    assert runner.healthy([mutant], jobs=1) == runner.Health(None, ())
    (caught,) = runner.run_all([mutant], jobs=1)
    assert caught.verdict == Verdict.CAUGHT
    assert caught.caught


_NEITHER_NOR = """
from pathlib import Path

def test_toy():
    seen = Path(__file__).with_suffix(".seen")
    often = len(seen.read_text()) if seen.exists() else 0
    seen.write_text("x" * (often + 1))
    assert {condition}
"""


@pytest.mark.parametrize(("condition", "unstable"), [("often > 0", True), ("often not in (0, 2)", False)])
def test_a_test_that_failed_beside_others_must_pass_three_times(toy: Path, condition: str, unstable: bool) -> None:
    """It is told by its name then; one more failure and nothing can be said about mutants."""
    toy.write_text(_NEITHER_NOR.format(condition=condition), encoding="utf-8")
    health = runner.healthy([_mutant("fence-missing")], jobs=1)
    assert (health.failed is None) == unstable
    assert health.unstable == (["test_toy.py::test_toy"] if unstable else ())


@pytest.mark.parametrize(
    ("condition", "verdict"), [("often == 0", Verdict.UNSTABLE), ("often in (0, 2)", Verdict.SURVIVED)]
)
def test_a_bug_that_was_missed_must_be_caught_three_times(toy: Path, condition: str, verdict: Verdict) -> None:
    """One more miss and it is a survivor."""
    toy.write_text(_NEITHER_NOR.format(condition=condition), encoding="utf-8")
    (result,) = runner.again(list(runner.run_all([_mutant("fence-missing")], jobs=1)))
    assert result.verdict == verdict
    assert result.caught == (verdict == Verdict.UNSTABLE)


def test_many_that_were_missed_are_not_tried_again(toy: Path) -> None:
    """Four are no accident: neither tests nor planted bugs."""
    mutant = _mutant("fence-missing")
    survivors = list(runner.run_all([mutant] * 4, jobs=1))
    toy.write_text("def test_toy():\n    assert 0\n", encoding="utf-8")
    assert runner.again(survivors) == survivors


_HANGS = "import time\n\ndef test_toy():\n    time.sleep(60)\n"
_HANGS_BEHIND = """
import pytest, time

@pytest.fixture
def slow():
    yield
    time.sleep(60)

def test_toy(slow):
    assert 1
"""
_ENDS_PYTEST = "import os\n\ndef test_toy():\n    os._exit(3)\n"
_KILLS_PYTEST = "import os\n\ndef test_toy():\n    os.kill(os.getpid(), 9)\n"


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        (_HANGS, Verdict.TIMED_OUT),
        (_HANGS_BEHIND, Verdict.TIMED_OUT),
        (_ENDS_PYTEST, Verdict.UNKNOWN),
        (_KILLS_PYTEST, Verdict.UNKNOWN),
    ],
    ids=["the test hangs", "what tidies up hangs", "pytest ends with it", "pytest is killed"],
)
def test_what_neither_passes_nor_fails_is_told_by_its_name(
    toy: Path, monkeypatch: pytest.MonkeyPatch, test: str, verdict: Verdict
) -> None:
    """A hang is seen by those who run the tests; a pytest that is gone has found out nothing."""
    monkeypatch.setattr(runner, "_TEST_WITHIN", 1)
    toy.write_text(test, encoding="utf-8")
    (result,) = runner.run_all([_mutant("fence-missing")], jobs=1)
    assert result.verdict == verdict
    assert result.caught == (verdict == Verdict.TIMED_OUT)


def test_a_time_limit_that_hits_pytest_itself_is_a_hang(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an INTERNALERROR then, with the exit code of one."""
    monkeypatch.setattr(runner, "_TEST_WITHIN", 1)
    hook = "def pytest_runtest_logreport(report):\n    __import__('time').sleep(60)\n"
    (toy.parent / "conftest.py").write_text(hook, encoding="utf-8")
    (result,) = runner.run_all([_mutant("fence-missing")], jobs=1)
    assert "INTERNALERROR" in result.output
    assert result.verdict == Verdict.TIMED_OUT


def test_what_no_time_limit_ends_is_killed(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are judged all the same."""
    monkeypatch.setattr(runner, "_RUN_WITHIN", 3.0)
    toy.write_text(
        "import signal, time\n\ndef test_toy():\n    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "    time.sleep(60)\n",
        encoding="utf-8",
    )
    (result,) = runner.run_all([_mutant("fence-missing")], jobs=1)
    assert result.verdict == Verdict.TIMED_OUT


def test_a_test_that_does_not_run_catches_nothing(toy: Path) -> None:
    """An error in collecting is no failed test."""
    toy.write_text("import nothing_of_that_name\n", encoding="utf-8")
    (result,) = runner.run_all([_mutant("fence-missing")], jobs=1)
    assert result.verdict == Verdict.UNKNOWN
    assert not result.caught
    assert "nothing_of_that_name" in (runner.healthy([_mutant("fence-missing")], jobs=1).failed or "")


def test_the_command_lists_and_refuses() -> None:
    """`--list` shows every mutant; a name that is none is refused."""
    listed = CliRunner().invoke(main, ["drill", "mutants", "--list"])
    assert listed.exit_code == 0
    assert all(mutant.name in listed.output for mutant in MUTANTS)
    assert CliRunner().invoke(main, ["drill", "mutants", "no-such"]).exit_code == 1
    with pytest.raises(CommandFailed, match="no-such"):
        named(["no-such"])


def test_all_parts_are_all_of_them() -> None:
    """Parts plant each bug once; what is no part is refused."""
    command = ["drill", "mutants", "--list", "--part"]
    parts = [CliRunner().invoke(main, [*command, f"{part}/3"]).output for part in (1, 2, 3)]
    for mutant in MUTANTS:
        assert sum(f" {mutant.name} " in listed for listed in parts) == 1, mutant.name
    for wrong in ("0/3", "4/3", "1/17", "one"):
        assert CliRunner().invoke(main, ["drill", "mutants", "--part", wrong]).exit_code == 2
