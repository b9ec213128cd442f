"""Flame graphs of a process that runs, by py-spy: https://github.com/benfred/py-spy."""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.status import look

MOST_SECONDS: Final = 300
MOST_LOOKS: Final = 1000  # a second
_LONGER: Final = 60.0  # seconds that it may take beside those: first it reads the symbols of all libraries
_MAY_NOT: Final = ("Permission Denied", "Operation not permitted", "ptrace")


def program() -> Path:
    """Return py-spy's program, beside the interpreter that runs us. Raise `CommandFailed`."""
    found = Path(sysconfig.get_path("scripts")) / "py-spy"
    if not found.is_file():
        raise CommandFailed(f"py-spy is not installed: {sys.executable} -m pip install 'orders-on-rocketmq[profile]'")
    return found


def pid_of(deployment: Deployment, name: str) -> int:
    """Return the pid of a process of a deployment. Raise `CommandFailed` where it has none of this name that runs."""
    known = {service.name: service.pid for service in look(deployment).services}
    if name not in known:
        raise CommandFailed(f"There is no process {name!r}: {', '.join(known)}.")
    if (pid := known[name]) is None:
        raise CommandFailed(f"{name} does not run.")
    return pid


def record(pid: int, file: Path, *, seconds: int, rate: int = 100, idle: bool = False) -> None:
    """Look at a process `rate` times a second for so many seconds; draw what it did.

    `idle`: with the threads that wait. Raise `CommandFailed`, also where the system does not let us look.
    """
    command = [
        str(program()),
        *("record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(rate)),
        *("--format", "flamegraph", "--output", str(file), "--nonblocking"),
        *(["--idle"] if idle else []),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + _LONGER)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"py-spy did not end within {seconds + _LONGER:g} s.") from error
    if done.returncode != 0:
        raise CommandFailed(_reason(pid, (done.stderr + done.stdout).strip()))


def _reason(pid: int, said: str) -> str:
    if any(word in said for word in _MAY_NOT):
        return (
            f"This system does not let us look into process {pid}: try it as root, or allow it with "
            "`sysctl kernel.yama.ptrace_scope=0`; in a container it takes --cap-add SYS_PTRACE."
        )
    return f"py-spy failed: {' '.join(said.splitlines()[-2:]) or 'it says nothing'}"
