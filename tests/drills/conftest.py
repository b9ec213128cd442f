"""Drills as tests: played by name on deployments of their own; one that fails says why, and keeps its evidence."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.drill import catalogue
from lab.drill.drill import ServerKind
from lab.drill.profiles import DEFAULTS, QUICK
from lab.drill.real import Real
from lab.drill.result import Event, Result
from lab.drill.runner import play
from lab.drill.slot import Slot
from lab.drill.sut import SystemUnderTest
from tests.stack import REAL, stack

Play = Callable[[str], Result]

# Of the limits: a machine that runs tests does other things too, and short ones are mostly the start of a process.
# ./scripts/drill holds them as they are stated.
_STRETCH, _STRETCH_OF_DEFAULTS = 6.0, 3.0


def _slot(root: Path) -> Slot:
    return Slot(root, backing=Real(root, running=stack()) if REAL else None)


@pytest.fixture(scope="package")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slot]:
    """Return the slot in which drills are played, one after the other."""
    slot = _slot(tmp_path_factory.mktemp("drills"))
    yield slot
    slot.close()


@pytest.fixture
def drill(slot: Slot) -> Play:
    """Return what plays a drill of the catalogue, and fails unless it passed."""

    def run(name: str) -> Result:
        servers = ServerKind.REAL if REAL else ServerKind.EMBEDDED
        if not any(known.plays_on(servers) for known in catalogue.DRILLS if known.name == name):
            pytest.skip(f"{name} is not played on {servers} servers")
        (found,) = catalogue.named((name,), servers)
        stretch = _STRETCH_OF_DEFAULTS if found.profile is DEFAULTS else _STRETCH
        result = play(found, slot, _tell, repeat=f"./scripts/drill {name}", stretch=stretch)
        assert result.passed, f"{result.reason}\nevidence: {result.evidence}\nagain: {result.repeat}"
        return result

    return run


def _tell(name: str, event: Event) -> None:
    print(name, event.kind, event.text)  # noqa: T201 - pytest shows it where the test fails


@contextmanager
def running_sut(data_dir: Path, instances: Mapping[str, int] | None = None) -> Iterator[SystemUnderTest]:
    """Start a deployment with short times; stop it in the end."""
    slot = _slot(data_dir)
    try:
        yield slot.sut(replace(QUICK, instances=instances or {}))
    finally:
        slot.drop(keep=True)
        slot.close()
