"""`orders demo --flash`, small: what counts the pieces is killed, exactly what there is is sold, or it fails."""

import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.commands.demo import command
from ops.flash_demo import FlashDemo
from ops.plan import free_port_base

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("tests/real/test_demo.py has it on real servers")]


def demo(*words: str) -> Result:
    return CliRunner().invoke(command, ["--flash", *words, "--port-base", str(free_port_base())])


def test_it_sells_exactly_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim is made, the counts are those asked for, and nothing stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where no other test's demo lies
    done = demo("--buyers", "100", "--pieces", "12")
    assert done.exit_code == 0, done.output
    for told in (
        "✓ the flash process was killed when 6 buyers had their 202",
        "✓ all 100 are answered",
        "✓ exactly 12 are sold: so many orders stand",
        "✓ at stock it owns the 12 pieces that it sold",
        "✓ every invariant holds",
    ):
        assert told in done.output
    assert list(tmp_path.iterdir()) == []


def test_it_fails_where_something_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a buyer who is told nothing, the exit code is none of success, and it says what did not hold."""
    monkeypatch.setattr("ops.buyers.SOLD_OUT", "another reason")
    done = demo("--buyers", "8", "--pieces", "4")
    assert done.exit_code == 1
    assert "This did not hold: no answer was anything else; buyer-" in str(done.exception)


def test_it_fails_where_nothing_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not show what it says."""
    monkeypatch.setattr(FlashDemo, "_kill_at_half", lambda *_: None)
    done = demo("--buyers", "8", "--pieces", "4")
    assert done.exit_code == 1
    assert "This did not hold: the flash process was killed" in str(done.exception)
