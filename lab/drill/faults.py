"""What can be broken at each step: a document for the console, which lets people choose, and knows no drills itself."""

from collections.abc import Mapping
from typing import Any

from lab.drill.catalogue import DRILLS, kills
from lab.drill.drill import ServerKind


def document() -> Mapping[str, Any]:
    """Return each failpoint with where it is, in words, and the drills on embedded servers that strike there."""
    found: dict[str, list[dict[str, str]]] = {}
    for drill in DRILLS:
        if drill.point is not None and drill.plays_on(ServerKind.EMBEDDED):
            fault = {"drill": drill.name, "breaks": drill.breaks, "holds": drill.holds}
            found.setdefault(drill.point, []).append(fault)
    steps = [{"point": point, "where": kills.WORDS[point], "faults": faults} for point, faults in found.items()]
    return {"steps": steps}
