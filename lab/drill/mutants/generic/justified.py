"""The changes that may survive, each with its reason: what it does is the same, or matters to no user.

`justified.toml` has a line for each: ``"file:function: what is there => what is there instead" = "reason"``.
"""

import tomllib
from pathlib import Path

from lab.drill.mutants.generic.mutation import mutations
from ops.errors import CommandFailed

FILE = Path(__file__).with_name("justified.toml")


def justified() -> dict[str, str]:
    """Return the reasons by key. Raise `CommandFailed` where one has none."""
    held = tomllib.loads(FILE.read_text(encoding="utf-8"))
    for key, reason in held.items():
        if not isinstance(reason, str) or not reason.strip():
            raise CommandFailed(f"{FILE.name}: no reason is given for {key}")
    return held


def stale(root: Path) -> list[str]:
    """Return the keys in the list that name no change of the code as it is."""
    held = justified()
    files = {key.partition(":")[0] for key in held}
    known = {mutation.key for file in files if (root / file).is_file() for mutation in mutations(root, file)}
    return [key for key in held if key not in known]
