"""Run in a copy of the project that has one more participant: kills it, compares it, breaks it; prints what came of it.

`python tests/e2e/added_participant.py DIRECTORY giftwrap`, with the copy first in PYTHONPATH.
"""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from halfmessage.failpoints import of_participant
from lab.drill import catalogue
from lab.drill.drill import ServerKind
from lab.drill.profiles import QUICK
from lab.drill.runner import play
from lab.drill.slot import Slot
from lab.judge.judge import Judge
from ops.commands.reconcile import compare
from ops.deployment import Deployment

_STRETCH = 4.0  # of the drills' limits, as in tests/drills


def _killed(slot: Slot, name: str) -> dict[str, str | None]:
    """Play the kill matrix of a participant; return for each drill why it failed."""
    drills = catalogue.named([f"kill-{point}" for point in sorted(of_participant(name))], ServerKind.EMBEDDED)
    return {drill.name: play(drill, slot, stretch=_STRETCH).reason for drill in drills}


def _reconciled(deployment: Deployment) -> dict[str, Any]:
    report = compare(deployment, grace=30.0, out=Console(stderr=True))
    return {"checked": report.checked, "found": [finding.what for finding in report.findings]}


def _set(deployment: Deployment, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(deployment.directory.root / "giftwrap.db", timeout=10)) as database, database:
        database.execute(statement, values)


def main() -> None:
    """Do all of it, on one deployment."""
    directory, name = sys.argv[1:]
    slot = Slot(Path(directory))
    try:
        told: dict[str, Any] = {"drills": _killed(slot, name)}
        sut = slot.sut(QUICK)
        user, goods = sut.user(), sut.new_goods()
        placed = sut.place(user, goods)
        order_id = placed.body["order_id"] if placed else None
        told["held"] = sut.admin.get(name, f"/reservations/{order_id}")
        told["agrees"] = _reconciled(sut.deployment)
        told["judged"] = Judge.of(sut.deployment).wrong()
        _set(sut.deployment, "UPDATE wraps SET uses = held + used")
        refused = sut.place(user, goods)
        told["refused"] = refused and [refused.status, refused.body]
        told["after_refusal"] = _reconciled(sut.deployment)["found"]
        _set(
            sut.deployment,
            "UPDATE reservations SET state = 'released', released_at = created_at WHERE order_id = ?",
            order_id,
        )
        told["broken"] = _reconciled(sut.deployment)["found"]
        told["judged_broken"] = Judge.of(sut.deployment).wrong()
        entries = sut.admin.get("order", f"/orders/{order_id}/timeline")["entries"]
        told["timeline"] = entries
    finally:
        slot.close()
    print(json.dumps(told, default=str))  # noqa: T201 - that is what it is for


if __name__ == "__main__":
    main()
