"""`pip install ./halfmessage` where nothing else is: what it brings, what it changes, and that its README runs."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "halfmessage"
TUTORIAL = ROOT / "docs" / "library" / "tutorial.md"
DEPENDENCIES = {"pydantic", "snowflake-id", "sqlalchemy", "structlog"}
OLDER = ("Flask>=2.3,<2.4", "SQLAlchemy>=2.0,<2.1", "PyMySQL>=1.1,<1.2")
"""What another's service may have, older than what ours has."""

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
    made.pip("install", "--quiet", f"{LIBRARY}[flask]")
    return made


@pytest.fixture(scope="module")
def with_flask(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install what the tutorial says."""
    made = Environment(tmp_path_factory.mktemp("flask"))
    made.pip("install", "--quiet", f"{LIBRARY}[flask]", "pytest")
    return made


def blocks(page: Path) -> dict[str, str]:
    """Return a page's programs by the file that each is to be."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", page.read_text(), re.DOTALL)
    return dict(found)


def _modules() -> list[str]:
    """Return the library's modules that need no extra."""
    paths = (file.relative_to(ROOT).with_suffix("") for file in LIBRARY.rglob("*.py"))
    named = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    others = re.compile(r"rocketmq_grpc\.|rocketmq_remoting\.|contrib\.|transactional\.asynchronous")
    return sorted(name for name in named if not others.search(name))


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


def test_asyncio_is_an_extra_and_says_so(alone: Environment) -> None:
    """What SQLAlchemy needs for it is named, instead of a traceback that ends in another library."""
    said = alone.program(
        "import asyncio, sqlalchemy\n"
        "from halfmessage.errors import Misconfigured\n"
        "from halfmessage.transactional import TransactionalMessages\n"
        "tx = TransactionalMessages('shop', sqlalchemy.create_engine('sqlite:///shop.db'), broker='table://')\n"
        "async def main():\n"
        "    async with tx.async_message('order_paid', key=1): pass\n"
        "try: asyncio.run(main())\n"
        "except Misconfigured as error: print(error)"
    )
    assert "halfmessage[asyncio]" in said


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


def test_it_runs_without_flask(alone: Environment) -> None:
    """The tutorial's program, where nothing but the library is."""
    assert "3 pieces were sold" in alone.program(blocks(TUTORIAL)["plain.py"])


_PAID = """
import time
from sqlalchemy import func, select
from app import Mail, Session, app, engine, tx
assert app.test_client().post("/orders/7/pay").status_code == 201
with app.app_context(), tx.current as started, Session(engine) as session:
    started.start()
    while not session.scalar(select(func.count()).select_from(Mail)):
        session.rollback()
        time.sleep(0.05)
"""


def test_its_readme_runs_beside_older(beside_older: Environment) -> None:
    """Word for word, beside older versions of what it shares an environment with; it is the example that CI drills."""
    shown = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL)
    assert shown == [blocks(TUTORIAL)["app.py"]]
    example = (ROOT / "examples" / "flask_20_lines" / "app.py").read_text()
    assert example.split('"""')[2].strip() == shown[0].strip()
    (beside_older.home / "app.py").write_text(shown[0])
    for words in (["tx", "migrate"], ["create"]):
        _run(beside_older.python, "-m", "flask", "--app", "app", *words, cwd=beside_older.home)
    beside_older.program(_PAID)


def test_it_tells_pytest_and_the_shell(alone: Environment) -> None:
    """The wheel has a command and a plugin, and no tests."""
    said = alone.program(
        "from importlib.metadata import distribution as d; found = d('halfmessage');"
        "print(sorted(e.value for e in found.entry_points));"
        "print([str(f) for f in found.files if 'test' in f.name and f.suffix == '.py'])"
    )
    assert said.splitlines() == [
        "['halfmessage.contrib.pytest_plugin', 'halfmessage.drill.cli:main']",
        "['halfmessage/contrib/pytest_plugin.py']",
    ]
    assert "--scenario" in _run(alone.home / "venv" / "bin" / "halfmessage", "drill", "--help", cwd=alone.home)


def test_its_types_reach_another_program(alone: Environment) -> None:
    """The wheel says that it is typed: a checker that finds it installed checks what a program does with it."""
    program = alone.home / "plain.py"
    program.write_text(blocks(TUTORIAL)["plain.py"])
    words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", alone.python, "--cache-dir", alone.home]
    assert "Success" in _run(*words, program, cwd=alone.home)
    program.write_text(program.read_text() + '\nwith tx.message("sold") as unnamed:\n    unnamed.text = 1\n')
    said = subprocess.run([*words, program], capture_output=True, text=True, cwd=alone.home, check=False).stdout
    for missing in ('Missing named argument "key"', '"OutgoingMessage" has no attribute "text"'):
        assert missing in said


@pytest.mark.timeout(900)  # an installation, six processes of Flask and two drills, beside other tests
def test_the_tutorial_runs(with_flask: Environment) -> None:
    """Every block, as a reader types them: two processes, kill -9, a drill, a planted bug that it finds, and tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = with_flask.home / "tutorial"
    home.mkdir()
    for name, text in blocks(TUTORIAL).items():
        (home / name).write_text(text)
    lines = "".join(re.findall(r"```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)).replace("5000", str(port))
    environment = {**os.environ, "PATH": f"{with_flask.python.parent}:{os.environ['PATH']}"}
    with (home / "said").open("w+") as said:
        shell = subprocess.Popen(
            ["bash", "-euxc", lines], stdout=said, stderr=said, cwd=home, env=environment, start_new_session=True
        )
        try:
            status = shell.wait(timeout=600)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        said.seek(0)
        text = said.read()
    assert status == 0, text
    for expected in ("check: 1 orders have 0 mails", "1 passed", "3 pieces were sold", "dead 0"):
        assert expected in text
    assert (home / "drill.html").is_file()


def test_it_can_be_published(tmp_path: Path) -> None:
    """`python -m build`, and `twine check` of what it made."""
    _run(sys.executable, "-m", "build", "--outdir", tmp_path, LIBRARY, cwd=tmp_path)
    made = sorted(tmp_path.iterdir())
    assert [each.name.split("-")[0] for each in made] == ["halfmessage", "halfmessage"]
    assert _run(sys.executable, "-m", "twine", "check", "--strict", *made, cwd=tmp_path).count("PASSED") == 2


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
