"""A process that has imported what pytest and our dependencies are made of, and runs pytest in children forked from it.

Starting pytest costs some three seconds of a processor, of which a planted bug's test needs a few tenths. Nothing of
ours is imported before the fork, so that a child sees the code as a process of its own would.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, NoReturn, Self, cast

_IMPORTED = (
    *(
        "pytest",
        "_pytest.assertion.rewrite",
        "_pytest.python",
        "_pytest.terminal",
        "_pytest.junitxml",
        "_pytest.legacypath",
    ),
    *("sqlalchemy.orm", "sqlalchemy.dialects.sqlite.pysqlite", "pymysql", "alembic.command", "redis", "limits"),
    *("flask", "granian", "httpx", "urllib3", "pydantic_settings", "structlog", "click", "prometheus_client"),
    *(
        "jwt",
        "cryptography.x509",
        "iso4217",
        "hypothesis",
        "rich.console",
        "opentelemetry.sdk.trace",
        "psutil",
        "snowflake",
    ),
)
"""What costs most; any other package is imported by each child that wants it."""

_OVER = "over"  # is answered where the time was over, and not the exit code


class Warm:
    """Runs pytest, one run at a time. Not to be shared by threads."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        """Start the process in the directory `root`, with the variables of `environment` and no others."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asks, self._answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and what it runs."""
        self._process.communicate()

    def run(self, arguments: Sequence[str], variables: Mapping[str, str], *, within: float) -> tuple[int, str]:
        """Run pytest with `arguments` and `variables` more; return its exit code and what it said.

        Raise `subprocess.TimeoutExpired`, with what it said, for a run of more than `within` seconds, which is killed;
        `OSError` when the process is gone.
        """
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace", suffix=".log") as output:
            asked = {
                "arguments": list(arguments),
                "variables": dict(variables),
                "within": within,
                "output": output.name,
            }
            self._asks.write(json.dumps(asked) + "\n")
            self._asks.flush()
            line = self._answers.readline()
            if not line:
                raise OSError(f"the process that forks tests ended, with status {self._process.wait()}")
            said = output.read()
            if line.strip() == _OVER:
                raise subprocess.TimeoutExpired("pytest", within, output=said)
            return int(line), said


def _serve() -> None:
    """Run what each line of standard input asks for, and answer with its exit code."""
    for name in _IMPORTED:
        with suppress(ImportError):  # of an extra that is not installed
            import_module(name)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(asked)
        print(_ended(pid, asked["within"]), file=answers, flush=True)


def _ended(pid: int, within: float) -> int | str:
    """Wait for a child; return its exit code, or `_OVER` when it took too long: it is killed, with its own children."""
    child = os.pidfd_open(pid)
    try:
        in_time, _, _ = select.select([child], [], [], within)
    finally:
        os.close(child)
    if not in_time:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if in_time else _OVER


def _run(asked: Mapping[str, object]) -> NoReturn:
    """Be the child."""
    code = 1
    try:
        os.setsid()
        output = os.open(str(asked["output"]), os.O_WRONLY)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(asked["variables"])  # type: ignore[call-overload]
        code = int(import_module("pytest").main(asked["arguments"]))
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
