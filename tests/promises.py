"""What is promised, by number. A test that proves a promise is marked with it: `pytest -m P3` runs what proves P3.

`python -m tests.promises` writes README's table anew.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Final

PROMISES: Final = {
    "P1": "`total = available + live reservations`, never below 0, at every read",
    "P2": "an open or paid order has its stock; a closed one, or an id that is no order, holds nothing",
    "P3": "reserved once, released once; a paid order is never released",
    "P4": 'one idempotency key, one order; a 201 is never lost; "nothing was created" is true',
    "P5": "once quiet, no message is unresolved, and none is dead unseen",
    "P6": "what holds for stock holds for each participant; a coupon's `uses = free + held + used`, at every read",
    "P7": "a paid order has exactly one payment taken and not sent back; what was taken for any other goes back once",
}
_ROOT: Final = Path(__file__).parent.parent
_README: Final = _ROOT / "README.md"
_BEGIN: Final = "| promise | proved by |\n"
_MARK: Final = re.compile(r"pytest\.mark\.(P\d+)\b")


def proofs() -> dict[str, list[str]]:
    """Return the files, relative to the clone, that have tests of each promise."""
    found: dict[str, list[str]] = {number: [] for number in PROMISES}
    for path in sorted(_ROOT.glob("tests/**/test_*.py")):
        for number in sorted(set(_MARK.findall(path.read_text(encoding="utf-8")))):
            found[number].append(path.relative_to(_ROOT).as_posix())
    return found


def table() -> str:
    """Return README's table."""
    rows = [f"| **{n}** {PROMISES[n]} | {', '.join(_places(paths))} |" for n, paths in proofs().items()]
    return "\n".join([_BEGIN.rstrip("\n"), "|---|---|", *rows]) + "\n"


def written(readme: str) -> str:
    """Return README with the table as it is now. Raise `ValueError` where it has none."""
    begin = readme.index(_BEGIN)
    end = readme.index("\n\n", begin) + 1
    return readme[:begin] + table() + readme[end:]


def _places(paths: list[str]) -> list[str]:
    """Return the files in Markdown; of a directory that has several, its name."""
    folders = Counter(path.rpartition("/")[0] for path in paths)
    shown = [f"{folder}/" if folders[folder] > 1 else path for path in paths for folder in [path.rpartition("/")[0]]]
    return [f"`{place}`" for place in dict.fromkeys(shown)]


if __name__ == "__main__":
    _README.write_text(written(_README.read_text(encoding="utf-8")), encoding="utf-8")
