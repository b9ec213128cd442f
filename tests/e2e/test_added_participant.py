"""docs/add-a-participant.md followed to the letter in a copy: kills, reconcile, judge and every list know giftwrap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from halfmessage.failpoints import of_participant
from tests.added_participant import copy_project
from tests.stack import REAL

pytestmark = [pytest.mark.e2e, pytest.mark.drill, pytest.mark.P6]


_COMPARING = (
    *("tests/unit/test_registry.py", "tests/unit/test_lab.py::test_the_image_is_made_of_the_packages_in_the_wheel"),
    *("tests/unit/test_docker.py::TestCompose", "tests/unit/test_docker.py::TestDockerfile", "tests/unit/test_plan.py"),
    *("tests/unit/test_docs.py::test_the_backup_takes_every_database", "tests/unit/test_rendering.py"),
    "tests/unit/test_migrations.py::test_migrations_lead_to_the_schema_written_down[giftwrap]",
    "tests/unit/test_migrations.py::test_the_code_s_tables_agree_with_the_migrations[giftwrap]",
    "tests/unit/test_gateway.py::TestCaddy::test_what_is_repeated",
    "tests/unit/test_console_drills.py::test_what_can_be_chosen_is_what_drills_can_break",
    "tests/e2e/test_errors.py::test_the_table_of_calls_is_the_documented_one",
    "tests/e2e/test_errors.py::test_metrics_are_there",
    "tests/e2e/test_errors.py::test_readiness_names_what_it_checked",
)
"""Tests that compare what lists services with the list of them, here or in a file of another tool."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which the page was followed."""
    directory = tmp_path_factory.mktemp("copy") / "project"
    copy_project(directory)
    return directory


def _in(project: Path, *command: str, within: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy, which is imported there before what is installed."""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    return subprocess.run(
        command, env=environment, cwd=project, check=False, capture_output=True, text=True, timeout=within
    )


@pytest.mark.skipif(REAL, reason="says nothing of servers")
@pytest.mark.timeout(330)
def test_no_other_file_has_to_be_touched(project: Path) -> None:
    """Its folder, one entry, migration, client and test: whatever else names all services agrees, or was rendered."""
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_COMPARING]
    done = _in(project, *pytest_, within=300)
    assert done.returncode == 0, done.stdout
    contracts = _in(project, str(Path(sys.executable).with_name("lint-imports")), "--no-cache", within=120)
    assert contracts.returncode == 0, contracts.stdout


@pytest.mark.skipif(REAL, reason="in a copy of its own, on embedded servers")
@pytest.mark.timeout(330)
def test_a_participant_made_by_the_page(project: Path, tmp_path: Path) -> None:
    """It is killed at each of its failpoints and all agrees; what it lacks or refuses is told, by its name alone."""
    script = str(project / "tests/e2e/added_participant.py")
    done = _in(project, sys.executable, script, str(tmp_path / "run"), "giftwrap", within=300)
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
