"""docs/add-a-participant.md followed to the letter in a copy: kill matrix, reconcile and judge know giftwrap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from halfmessage.failpoints import of_participant
from tests.added_participant import ROOT, copy_project
from tests.stack import REAL

pytestmark = [pytest.mark.e2e, pytest.mark.drill, pytest.mark.P6]


@pytest.mark.skipif(REAL, reason="in a copy of its own, on embedded servers")
@pytest.mark.timeout(330)
def test_a_participant_made_by_the_page(tmp_path: Path) -> None:
    """It is killed at each of its failpoints and all agrees; what it lacks or refuses is told, by its name alone."""
    project = tmp_path / "project"
    copy_project(project)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/e2e/added_participant.py"), str(tmp_path / "run"), "giftwrap"],
        env={**os.environ, "PYTHONPATH": str(project)},
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["drills"] == {f"kill-{point}": None for point in of_participant("giftwrap")}
    assert (told["held"]["state"], told["held"]["wrap_id"]) == ("deducted", "1")
    assert told["agrees"]["found"] == told["judged"] == told["after_refusal"] == []
    assert told["agrees"]["checked"]["live_reservations"] >= 2
    status, problem = told["refused"]
    assert (status, problem["type"]) == (409, "/problems/sold-out")
    (order_id,) = {told["held"]["order_id"]}
    assert told["broken"] == ["the order is created, but its giftwrap is not held"]
    assert told["judged_broken"] == [f"order {order_id}: created, but its giftwrap is not held"]
    assert "giftwrap" in json.dumps(told["timeline"])
