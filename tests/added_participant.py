"""What docs/add-a-participant.md makes: its blocks of code, written where it says, into a copy of this project."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"```python\n# (?P<path>\S+)\n(?P<code>.*?)```", re.DOTALL)
_ENTRY = re.compile(r"```python\n# (?P<path>\S+): one more of SERVICES\n(?P<code>.*?)```", re.DOTALL)
_PAGE = (ROOT / "docs" / "add-a-participant.md").read_text(encoding="utf-8")
BLOCKS = {match["path"]: match["code"] for match in _BLOCK.finditer(_PAGE)}
"""Its modules: by their paths in the project, what is in them."""
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "var", "build", "*.egg-info")


def write(directory: Path) -> None:
    """Write the page's modules below `directory`, each folder of theirs a package."""
    for path, code in BLOCKS.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
        for folder in file.relative_to(directory).parents[:-1]:
            (directory / folder / "__init__.py").touch()


def copy_project(directory: Path) -> None:
    """Copy the project, and do what the page says: its modules, its entry in the list of services, its command.

    Afterwards git knows all of the copy, as it does of a clone in which that was done.
    """
    shutil.copytree(ROOT, directory, ignore=_NOT_COPIED)
    for hidden in ("docker/.env.example", ".gitignore"):
        shutil.copyfile(ROOT / hidden, directory / hidden)
    write(directory)
    (entry,) = _ENTRY.finditer(_PAGE)
    registry = directory / entry["path"]
    before, services, after = registry.read_text(encoding="utf-8").partition("SERVICES = (")
    end = after.index("\n)") + 1
    registry.write_text(before + services + after[:end] + entry["code"] + after[end:], encoding="utf-8")
    subprocess.run([sys.executable, "-m", "lab", "render"], cwd=directory, check=True, capture_output=True)
    subprocess.run(["git", "init", "--quiet"], cwd=directory, check=True)
