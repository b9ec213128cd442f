"""`pip install ./halfmessage` where nothing else is: what it brings, what it changes, and that its README runs."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "halfmessage"
DEPENDENCIES = {"pydantic", "snowflake-id", "sqlalchemy", "structlog"}
OLDER = ("Flask>=2.3,<2.4", "SQLAlchemy>=2.0,<2.1", "PyMySQL>=1.1,<1.2")
"""What somebody's service may have, older than what ours has."""

pytestmark = [
    pytest.mark.embedded("installs one wheel into an environment of its own: there is no server in it"),
    pytest.mark.timeout(300),
]


def _run(*words: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A virtual environment with the library, and what a program in it says."""

    def __init__(self, home: Path) -> None:
        """Make it, empty."""
        self.home = home
        self.python = home / "venv" / "bin" / "python"
        _run(sys.executable, "-m", "venv", home / "venv", cwd=home)

    def pip(self, *words: object) -> str:
        return _run(self.python, "-m", "pip", "--disable-pip-version-check", "--no-input", *words, cwd=self.home)

    def distributions(self) -> set[str]:
        return {each["name"].lower() for each in json.loads(self.pip("list", "--format", "json"))}

    def program(self, text: str, *options: str) -> str:
        return _run(self.python, *options, "-c", text, cwd=self.home)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the library into an environment of its own."""
    made = Environment(tmp_path_factory.mktemp("alone"))
    made.pip("install", "--quiet", LIBRARY)
    return made


@pytest.fixture(scope="module")
def beside_older(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the library beside an older Flask, SQLAlchemy and PyMySQL."""
    made = Environment(tmp_path_factory.mktemp("older"))
    made.pip("install", "--quiet", *OLDER)
    made.pip("install", "--quiet", LIBRARY)
    return made


def _modules() -> list[str]:
    """Return the library's modules that need no extra."""
    paths = (file.relative_to(ROOT).with_suffix("") for file in LIBRARY.rglob("*.py"))
    named = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    others = re.compile(r"rocketmq_grpc\.|rocketmq_remoting\.|contrib\.")
    return sorted(name for name in named if not others.search(name))


def _readme() -> str:
    (program,) = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL)
    return str(program)


def test_it_brings_what_it_needs_and_nothing_of_ours(alone: Environment) -> None:
    """No web framework, no server, and no package of the order system."""
    brought = alone.distributions() - {"pip", "setuptools"}
    assert brought >= {"halfmessage", *DEPENDENCIES}
    assert not brought & {"flask", "granian", "click", "redis", "pymysql", "orders-on-rocketmq"}
    ours = ["common", "lab", "ops", "order", "sql", "stock", "tests"]
    found = alone.program(f"import importlib.util as u; print([name for name in {ours} if u.find_spec(name)])")
    assert found.strip() == "[]"


def test_every_module_is_in_the_wheel(alone: Environment) -> None:
    """Each can be imported where only the wheel is."""
    alone.program("; ".join(f"import {name}" for name in _modules()))


def test_importing_it_loads_nothing_else(alone: Environment) -> None:
    """`import halfmessage` is one module: it takes as long as reading one file."""
    loaded = alone.program(
        "import sys; before = set(sys.modules); import halfmessage; print(sorted(set(sys.modules) - before))"
    )
    assert loaded.strip() == "['halfmessage']"


def test_importing_all_of_it_changes_nothing_in_the_process(alone: Environment) -> None:
    """No thread, no signal handler, no log handler or level, no warning filter, no variable, no file."""
    state = (
        "import logging, os, pathlib, signal, sys, threading, warnings\n"
        "import pydantic, sqlalchemy, snowflake, structlog\n"
        "def state():\n"
        "    root = logging.getLogger()\n"
        "    return (threading.active_count(), [signal.getsignal(n) for n in signal.valid_signals()],\n"
        "        list(root.handlers), root.level, list(warnings.filters), dict(os.environ), sys.excepthook,\n"
        "        structlog.is_configured(), sorted(pathlib.Path.cwd().iterdir()))\n"
        "before = state()\n"
    )
    alone.program(state + "\n".join(f"import {name}" for name in _modules()) + "\nassert state() == before")


@pytest.mark.parametrize("environment", ["alone", "beside_older"])
def test_its_readme_runs(environment: str, request: pytest.FixtureRequest) -> None:
    """Word for word, alone and beside older versions of what it shares an environment with."""
    assert "3 pieces were sold" in request.getfixturevalue(environment).program(_readme())


def test_an_environment_with_older_versions_is_sound(beside_older: Environment) -> None:
    """Ranges, not pins: nothing was replaced, and `pip check` has no complaint."""
    assert "No broken requirements" in beside_older.pip("check")
    versions = {each["name"].lower(): each["version"] for each in _listed(beside_older)}
    assert (versions["flask"][:3], versions["sqlalchemy"][:3], versions["pymysql"][:3]) == ("2.3", "2.0", "1.1")


def _listed(environment: Environment) -> Sequence[dict[str, str]]:
    return list(json.loads(environment.pip("list", "--format", "json")))


def test_the_order_system_pins_what_fits_the_ranges() -> None:
    """What is tested here with all its drills is a version that the library says it takes."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - of pip's family, there with the test tools

    pins = dict(
        line.split("==")
        for line in re.findall(r"^\s+([\w.-]+==[\w.]+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    )
    lines = re.findall(r'^\s+"([\w.-]+[<>=].*)",$', (LIBRARY / "pyproject.toml").read_text(), re.MULTILINE)
    ranges = {found.name: found.specifier for found in map(Requirement, lines)}
    assert ranges.keys() == {"pydantic", "snowflake-id", "SQLAlchemy", "structlog"}
    assert all(pins[name] in allowed for name, allowed in ranges.items())
