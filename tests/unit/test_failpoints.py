"""Failpoints: inert unless armed, and then exactly as armed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import structlog.testing

from common import failpoints as ours
from halfmessage import failpoints
from halfmessage.errors import FailpointRaised, HalfMessageError


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("", ours.POINTS)


def test_inert_by_default() -> None:
    """An unarmed point is passed as if it weren't there."""
    for point in ours.POINTS:
        failpoints.hit(point)


def test_others_stay_inert() -> None:
    """Arming one point leaves all others inert."""
    failpoints.arm("order.deducted=raise", ours.POINTS)
    failpoints.hit("order.committed")


def test_raise() -> None:
    """`raise` raises at each passage, with the point's name."""
    failpoints.arm("order.deducted=raise", ours.POINTS)
    for _ in range(2):
        with pytest.raises(FailpointRaised, match=r"order\.deducted"):
            failpoints.hit("order.deducted")


def test_nth_passage() -> None:
    """`@N` lets the first N-1 passages through."""
    failpoints.arm("order.deducted=raise@3", ours.POINTS)
    failpoints.hit("order.deducted")
    failpoints.hit("order.deducted")
    with pytest.raises(FailpointRaised):
        failpoints.hit("order.deducted")


def test_delay() -> None:
    """`delay:SECONDS` holds the passage up for so long."""
    failpoints.arm("order.deducted=delay:0.05", ours.POINTS)
    started = time.monotonic()
    failpoints.hit("order.deducted")
    assert time.monotonic() - started >= 0.05


def test_a_delay_is_told_before_it_begins() -> None:
    """A reader of the log knows that the process stands there: drills strike then."""
    failpoints.arm("order.deducted=delay:0.01", ours.POINTS)
    with structlog.testing.capture_logs() as logged:
        failpoints.hit("order.deducted")
    assert [(line["failpoint"], line["pid"]) for line in logged] == [("order.deducted", os.getpid())]


def test_kill() -> None:
    """`kill` ends the process with SIGKILL, at the passage it names and not before."""
    code = """
from halfmessage import failpoints
failpoints.arm("order.deducted=kill@2", ["order.deducted"])
failpoints.hit("order.deducted")
print("first", flush=True)
failpoints.hit("order.deducted")
print("second", flush=True)
"""
    child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, "first\n")


def test_several() -> None:
    """Points are separated by semicolons; spaces and empty parts don't matter."""
    failpoints.arm(" order.deducted=raise ; ;stock.released=delay:0.5@7;", ours.POINTS)
    with pytest.raises(FailpointRaised):
        failpoints.hit("order.deducted")
    failpoints.hit("stock.released")


def test_arming_replaces() -> None:
    """Arming again forgets what was armed before."""
    failpoints.arm("order.deducted=raise", ours.POINTS)
    failpoints.arm("order.committed=raise", ours.POINTS)
    failpoints.hit("order.deducted")


@pytest.mark.parametrize(
    "spec",
    [
        "order.unheard_of=kill",
        "order.deducted",
        "order.deducted=",
        "order.deducted=explode",
        "order.deducted=delay",
        "order.deducted=delay:-1",
        "order.deducted=kill@x",
        "order.deducted=kill@",
        "order.deducted=kill order.committed=kill",
    ],
)
def test_wrong_spec(spec: str) -> None:
    """A specification with a mistake is refused, and arms nothing."""
    with pytest.raises(HalfMessageError, match="no failpoint"):
        failpoints.arm(f"order.committed=raise;{spec}", ours.POINTS)
    failpoints.hit("order.committed")


def test_refused_in_production() -> None:
    """A deployment that says it is production refuses to start with failpoints."""
    with pytest.raises(HalfMessageError, match="production"):
        ours.arm("order.deducted=raise", production=True)
    failpoints.hit("order.deducted")


def test_nothing_armed_in_production() -> None:
    """No failpoints is fine in production."""
    ours.arm("", production=True)
