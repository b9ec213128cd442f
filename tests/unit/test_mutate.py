"""Changes by rule: which there are, that each is planted and tried, and that survivors are told."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import main
from lab.drill.mutants import runner
from lab.drill.mutants.generic import campaign, justified
from lab.drill.mutants.generic import tests_of as recorded
from lab.drill.mutants.generic.forks import Asked
from lab.drill.mutants.generic.mutation import Mutation, functions, mutations
from lab.drill.mutants.generic.tests_of import TestsOf
from ops.errors import CommandFailed

pytestmark = pytest.mark.timeout(300)  # each try starts a pytest, which on a busy machine takes many seconds
_TOY = '''
def is_small(number, log=None):
    """Whether it is."""
    log.info("looked", number=number)
    return number < 10
'''
_TESTS = """
import toy

class Log:
    def info(self, *_, **__): pass

def test_small():
    assert toy.is_small(1, Log())

def test_large():
    assert not toy.is_small(100, Log())
"""


def _changes(root: Path, code: str) -> set[str]:
    (root / "piece.py").write_text("def f(a, b, c):\n" + "".join(f"    {line}\n" for line in code.splitlines()))
    return {mutation.change for mutation in mutations(root, "piece.py")}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("return a < b", {"return a < b => return a <= b", "return a < b => return None"}),
        ("return a and b", {f"return a and b => return {x}" for x in ("a or b", "a", "b", "None")}),
        ("c(not a)", {"c(not a) => pass", "c(not a) => c(a)"}),
        ("a(b, c)", {"a(b, c) => pass", "a(b, c) => a(c, b)"}),
        ("a(b, by=c)", {"a(b, by=c) => pass", "a(b, by=c) => a(b)"}),
        ("b[0] = 3", {"b[0] = 3 => pass", "b[0] = 3 => b[1] = 3", "b[0] = 3 => b[0] = 4", "b[0] = 3 => b[0] = 2"}),
        ("a = 0.5", {"a = 0.5 => a = 1.0", "a = 0.5 => a = 0.25"}),
        ("a = 256", {"a = 256 => a = 512", "a = 256 => a = 128"}),
        ("for x in a:\n    continue", {"for x in a:; continue => pass", "continue => break"}),
        ("a()\nb()", {"a() => nothing", "b() => nothing", "a(); b() => b(); a()"}),
        ("a = b()\nc(a)", {"c(a) => nothing"}),
        ("a = []\nb()", {"b() => nothing"}),
        ("a = self.x\nc()", {"c() => nothing", "a = self.x; c() => c(); a = self.x"}),
        ("a = len(b)\nc()", {"c() => nothing"}),
        ("a.x = b()\na.y = c()", {"a.x = b() => nothing", "a.y = c() => nothing"}),
        (
            "try:\n    pass\nexcept (KeyError, OSError):\n    pass",
            {
                "except (KeyError, OSError): => except (OSError,):",
                "except (KeyError, OSError): => except (KeyError,):",
            },
        ),
        ("try:\n    pass\nexcept OSError:\n    pass", {"except OSError: => except ():"}),
        ("with a:\n    b()", {"with a:; b() => b()", "b() => pass"}),
        ("a = min(b, c)", {"a = min(b, c) => a = max(b, c)"}),
        ("if a:\n    b()", {"if a:; b() => pass", "if a:; b() => b()", "b() => pass"}),
        ("a = b[c:]", {"a = b[c:] => a = b[:]"}),
        ("a = b.where(c)", {"a = b.where(c) => a = b"}),
        ("a = [x for x in b if x]", {"a = [x for x in b if x] => a = [x for x in b]"}),
        ("log.info(a, b)", set()),
        ("failpoints.hit('order.deducted')", set()),
    ],
)
def test_what_is_changed(tmp_path: Path, code: str, changes: set[str]) -> None:
    """One slip at a time, each with a name that tells it; log lines and the places where drills strike are left."""
    assert _changes(tmp_path, code) == changes


def test_a_change_keeps_its_name_when_lines_move(tmp_path: Path) -> None:
    """So that a justification stays one; of two alike in a function, the second has a number."""
    (tmp_path / "toy.py").write_text("def f(a):\n    a(1)\n    a(1)\n")
    before = [mutation.key for mutation in mutations(tmp_path, "toy.py")]
    (tmp_path / "toy.py").write_text("import os\n\n\ndef f(a):\n    a(1)\n    a(1)\n")
    assert [mutation.key for mutation in mutations(tmp_path, "toy.py")] == before
    assert len(before) == len(set(before))
    assert "toy.py:f: a(1) => a(2)" in before
    assert "toy.py:f: a(1) => a(2) (2)" in before


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone of another project: one function, and tests that leave its border open."""
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "toy.py").write_text(_TOY)
    (tmp_path / "tests" / "unit" / "test_toy.py").write_text(_TESTS)
    monkeypatch.setattr("lab.drill.mutants.generic.core._CORE", ("toy.py",))
    monkeypatch.setattr(runner, "root", lambda: tmp_path)
    monkeypatch.setattr(justified, "FILE", tmp_path / "justified.toml")
    (tmp_path / "justified.toml").write_text("")
    return tmp_path


def _recorded(root: Path) -> TestsOf:
    """Return what the recorder would have: both tests run the last line."""
    (function,) = functions(root, "toy.py")
    held, (small, large) = TestsOf(), (f"tests/unit/test_toy.py::test_{name}" for name in ("small", "large"))
    lines = {"toy.py": {function.last: [small, large]}}
    held.record(root, ["tests/unit/test_toy.py"], lines, {small: 0.2, large: 0.1})
    return held


def _one(root: Path, change: str) -> Mutation:
    (found,) = (m for m in mutations(root, "toy.py") if m.change.endswith(change))
    return found


def test_each_change_is_tried_by_the_tests_of_its_line(toy: Path) -> None:
    """Fastest first; caught by the one that fails, a survivor where none does, and no test where none runs."""
    held = _recorded(toy)
    border, none = _one(toy, "=> return number <= 10"), _one(toy, "=> return None")
    plan = campaign.plan([border, none], held)
    assert plan.untested == ()
    assert [one.tests[0].rpartition("::")[2] for one in plan.asked] == ["test_large"] * 2
    found = {one.key: one for one in campaign.tried(toy, plan.asked, jobs=2, seconds=60)}
    assert found[border.key].verdict == "survived"
    assert (found[none.key].verdict, found[none.key].by) == ("caught", "tests/unit/test_toy.py::test_small")
    assert (toy / "toy.py").read_text() == _TOY


def test_a_test_that_fails_without_any_change_catches_nothing(toy: Path) -> None:
    """It is left out, and the others decide."""
    file = toy / "tests" / "unit" / "test_toy.py"
    file.write_text(_TESTS + "\ndef test_broken():\n    assert toy.is_small(50, Log())\n")
    border = _one(toy, "=> return number <= 10")
    tests = tuple(f"tests/unit/test_toy.py::test_{name}" for name in ("broken", "small", "large"))
    (found,) = campaign.tried(toy, [Asked(border.key, tests, 30.0)], jobs=1, seconds=60)
    assert found.verdict == "survived"


@pytest.mark.parametrize(("body", "verdict"), [("while True: pass", "hung"), ("import os; os._exit(3)", "died")])
def test_a_change_that_hangs_or_kills_is_caught(toy: Path, body: str, verdict: str) -> None:
    """Whatever becomes of the child, the next one is tried."""
    file = toy / "tests" / "unit" / "test_toy.py"
    file.write_text(
        f"import toy\nclass Log:\n    def info(self, *_, **__): pass\n"
        f"def test_odd():\n    if toy.is_small(10, Log()):\n        {body}\n"
    )
    border, none = _one(toy, "=> return number <= 10"), _one(toy, "=> return None")
    tests = ("tests/unit/test_toy.py::test_odd",)
    asked = [Asked(border.key, tests, 3.0), Asked(none.key, tests, 30.0)]
    found = {one.key: one.verdict for one in campaign.tried(toy, asked, jobs=1, seconds=60)}
    assert found == {border.key: verdict, none.key: "survived"}


def test_which_tests_run_a_line_outlives_what_moves_it(toy: Path) -> None:
    """Lines above a function change nothing; of one that changed itself, its tests are still known, and outdated."""
    held = _recorded(toy)
    assert held.outdated(toy, ["toy.py"]) == []
    (toy / "toy.py").write_text("import os\n" + _TOY)
    (function,) = functions(toy, "toy.py")
    assert len(held.of(function, function.last, function.last)) == 2
    assert held.of(function, function.first, function.first + 1) == []
    assert held.outdated(toy, ["toy.py"]) == []
    (toy / "toy.py").write_text(_TOY.replace("10", "11"))
    (function,) = functions(toy, "toy.py")
    assert len(held.of(function, function.first, function.first + 1)) == 2
    assert held.outdated(toy, ["toy.py"]) == ["tests/unit/test_toy.py"]


def test_what_moved_to_a_new_file_is_recorded_again(toy: Path) -> None:
    """Of files that are not asked about, nothing is; of a new one, by the tests that ran what is no more."""
    held = _recorded(toy)
    (toy / "other.py").write_text(_TOY)
    (toy / "toy.py").write_text(_TOY.replace("10", "11"))
    assert held.outdated(toy, []) == []
    assert held.outdated(toy, ["other.py"]) == []
    (toy / "toy.py").unlink()
    assert held.outdated(toy, ["other.py"]) == ["tests/unit/test_toy.py"]


def test_the_command_records_tries_and_tells(toy: Path) -> None:
    """A survivor fails; with a reason in the list it is let be, until the code is no more what the reason is for."""

    def run(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["drill", "mutate", "--jobs", "1", *more])
        return done.exit_code, done.output

    _recorded(toy).save(toy / recorded.FILE)
    code, said = run()
    key = "toy.py:is_small: return number < 10 => return number <= 10"
    assert code == 1
    assert f"survived  {key}" in said
    survivors = [line.partition("  ")[2] for line in said.splitlines() if line.startswith("survived")]
    (toy / "justified.toml").write_text("".join(f'"{one}" = "nobody asks for 10"\n' for one in survivors))
    assert run()[0] == 0
    (toy / "justified.toml").write_text('"toy.py:is_small: return 1 => return 2" = "gone"\n')
    code, said = run("--only", "return None")
    assert code == 1
    assert "no change of the code as it is: toy.py:is_small: return 1 => return 2" in said


def test_what_a_slower_test_catches_is_no_survivor(toy: Path) -> None:
    """What survives as many tests as take ten seconds is tried by the others too."""
    file = toy / "tests" / "unit" / "test_toy.py"
    file.write_text(_TESTS + "\ndef test_border():\n    assert not toy.is_small(10, Log())\n")
    (function,) = functions(toy, "toy.py")
    seconds = {
        f"tests/unit/test_toy.py::test_{name}": s for name, s in (("large", 1.0), ("small", 8.0), ("border", 60))
    }
    held = TestsOf()
    held.record(toy, ["tests/unit/test_toy.py"], {"toy.py": {function.last: list(seconds)}}, seconds)
    held.save(toy / recorded.FILE)
    border = _one(toy, "=> return number <= 10")
    plan = campaign.plan([border], held)
    assert [test.rpartition("_")[2] for test in plan.asked[0].tests] == ["large", "small"]
    assert plan.slower[border.key].tests == ("tests/unit/test_toy.py::test_border",)
    done = CliRunner().invoke(main, ["drill", "mutate", "--jobs", "1", "--only", "number <= 10"])
    assert (done.exit_code, "1 caught" in done.output) == (0, True)


def test_what_was_found_out_before_the_end_is_kept(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which test runs which line is found out some files at a time: the next time, only the others are run."""
    monkeypatch.setattr(campaign, "_FILES_AT_ONCE", 1)
    bad = toy / "tests" / "unit" / "test_worse.py"
    bad.write_text("import os\n\ndef test_bad():\n    os._exit(3)\n")
    with pytest.raises(CommandFailed, match="pytest ended with 3 without any change"):
        campaign.record(toy, ["toy.py"], fresh=False)
    assert TestsOf.load(toy / recorded.FILE).outdated(toy, ["toy.py"]) == ["tests/unit/test_worse.py"]


def test_a_test_that_fails_by_itself_is_told_and_notices_nothing(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One test that a busy machine broke does not end a campaign; the others still notice."""
    bad = toy / "tests" / "unit" / "test_worse.py"
    bad.write_text("from toy import is_small\n\n\ndef test_bad():\n    is_small(1)\n    assert False\n")
    campaign.record(toy, ["toy.py"], fresh=False)
    assert "FAILED tests/unit/test_worse.py::test_bad" in capsys.readouterr().err
    held = TestsOf.load(toy / recorded.FILE)
    assert held.outdated(toy, ["toy.py"]) == []
    assert not [
        test
        for reached in held.functions.values()
        for tests in reached.tests.values()
        for test in tests
        if "bad" in test
    ]


def test_a_justification_has_a_reason(toy: Path) -> None:
    """A name alone says nothing."""
    (toy / "justified.toml").write_text('"toy.py:is_small: a => b" = " "\n')
    with pytest.raises(CommandFailed, match="no reason"):
        justified.justified()


def test_what_is_justified_is_there() -> None:
    """Each line of the list names a change of the code as it is."""
    assert justified.stale(runner.root()) == []


@pytest.fixture
def git(toy: Path) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=toy, check=True, capture_output=True)

    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "first")
    return run


def test_only_lines_that_were_changed_since(toy: Path, git: Callable[..., None]) -> None:
    """From where two commits parted, to the files as they are."""
    (toy / "toy.py").write_text(_TOY + "\n\ndef other(a):\n    return a + 1\n")
    git("commit", "-qam", "second")
    lines = campaign.changed_lines(toy, "HEAD~1")
    assert lines == {"toy.py": {6, 7, 8, 9}}
    assert {m.function.name for m in campaign.on_lines(toy, ["toy.py"], lines)} == {"other"}
    assert campaign.on_lines(toy, ["toy.py"], {}) == []
    with pytest.raises(CommandFailed, match="git merge-base"):
        campaign.changed_lines(toy, "no-such-commit")


def test_the_order_is_the_seed_s(toy: Path) -> None:
    """The same for the same seed, so that a sample can be tried again."""
    found = list(mutations(toy, "toy.py"))
    assert campaign.drawn(found, 1) == campaign.drawn(found[::-1], 1)
    assert {tuple(m.key for m in campaign.drawn(found, seed)) for seed in range(9)} != {tuple(m.key for m in found)}


def test_paths_that_hold_nothing_of_the_core_are_refused() -> None:
    """Rather than nothing being tried."""
    root = runner.root()
    assert "order/service/placing.py" in campaign.chosen(root, [str(root / "order" / "service")])
    with pytest.raises(CommandFailed, match="Nothing of the core"):
        campaign.chosen(root, [str(root / "docs")])
