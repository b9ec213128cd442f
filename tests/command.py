"""A command run in this process, as a shell would run it: for those that start nothing, and end at once."""

import os
from collections.abc import Mapping
from pathlib import Path

from click import Command
from click.testing import CliRunner


class Done:
    """How a command ended, and what it wrote: what `subprocess.run` tells of a process."""

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        """Take the exit status and both outputs."""
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


def in_process(main: Command, *arguments: str | Path, environment: Mapping[str, str]) -> Done:
    """Call a command line's `main` with arguments and `ORDERS_*` variables, of which no others are seen.

    What is no exit of its own, and would be a traceback, is raised.
    """
    unset = dict.fromkeys(name for name in os.environ if name.startswith("ORDERS_"))
    ended = CliRunner().invoke(main, [*map(str, arguments)], env={**unset, **environment}, catch_exceptions=False)
    return Done(ended.exit_code, ended.stdout, ended.stderr)
