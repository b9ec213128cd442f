"""docs/sagas.md: its program runs word for word, and prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "sagas.md"
QUIET = "import structlog\nstructlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))\n"
"""The library's log lines, which go to where the page's program prints, are not a part of the page."""

pytestmark = pytest.mark.embedded("a program of its own, on SQLite")


def test_its_program_prints_what_it_says() -> None:
    """But for the id of the run, which the page leaves out."""
    program, printed = re.findall(r"```(?:python)?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    words = [sys.executable, "-c", QUIET + program]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PAGE.parents[1], check=False)
    assert done.returncode == 0, done.stderr
    assert re.sub(r"run_id=\d+", "run_id=…", done.stdout) == printed
