"""A drill that is interrupted leaves nothing behind, unless something had failed: that is evidence."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from lab.commands import drill, drill_random
from lab.drill.nemesis.campaign import Campaign

Play = Callable[..., Result]


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Return what plays drills by a command, of which some end, passed or not, until they are interrupted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def play(command: ModuleType, words: str, *ended: bool) -> Result:
        def played(*_: object, **__: object) -> Iterator[object]:
            for passed in ended:
                yield SimpleNamespace(passed=passed)
            raise KeyboardInterrupt

        monkeypatch.setattr(drill, "play_all", played)
        monkeypatch.setattr(drill.Screen, "result", lambda *_: None)
        monkeypatch.setattr(Campaign, "play", played)
        monkeypatch.setattr(drill_random, "_show", lambda *_: None)
        for name in ("forget_settings", "log_to"):  # which are for a process of their own
            monkeypatch.setattr(command, name, lambda *_: None)
        monkeypatch.setattr(
            command, "signal", SimpleNamespace(SIGTERM=15, SIGHUP=1, default_int_handler=None, signal=lambda *_: None)
        )
        return CliRunner().invoke(command.command, words.split())

    return play


@pytest.mark.parametrize(("command", "words"), [(drill, "kill-order.deducted"), (drill_random, "--runs 2")])
def test_an_interrupted_drill_leaves_nothing(
    interrupted: Play, tmp_path: Path, command: ModuleType, words: str
) -> None:
    """Its temporary directory goes, and of a directory that was named what this run made in it; evidence stays."""
    named = tmp_path / "named"
    for ended in ((), (True,)):
        assert interrupted(command, words, *ended).exit_code == 130
        assert interrupted(command, f"{words} --data-dir {named}", *ended).exit_code == 130
        assert [one.name for one in tmp_path.iterdir()] == ["named"]
        assert not [one for one in named.iterdir() if one.is_dir()]
    assert interrupted(command, words, True, False).exit_code == 130
    (kept,) = tmp_path.glob("orders-drill-*")
    assert [one for one in kept.iterdir() if one.is_dir()]
