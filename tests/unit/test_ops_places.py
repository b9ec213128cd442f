"""The data directory: made once, found again, deleted only if it is ours."""

from pathlib import Path

import pytest

from ops.deployment import Deployment, Plan, free_port_base, ports_are_free
from ops.errors import AlreadyRunning, CommandFailed, NoDeployment
from ops.places import PACKAGES, DataDir, default_data_dir


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "var")


def test_the_secret_is_made_once(place: DataDir) -> None:
    """A second start keeps the key, so that tokens stay valid; only its owner may read it."""
    place.make()
    secret = place.secret()
    place.make()
    assert place.secret() == secret
    assert len(secret) >= 32
    assert (place.root / "secret").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in place.root.iterdir()} == {"secret", "keys", "run", "log"}


def test_only_its_owner_may_look_into_it(place: DataDir, tmp_path: Path) -> None:
    """Databases are in it. A directory that somebody made before keeps the mode they gave it."""
    place.make()
    assert place.root.stat().st_mode & 0o777 == 0o700
    shared = DataDir(tmp_path / "shared")
    shared.root.mkdir(mode=0o755)
    shared.make()
    assert shared.root.stat().st_mode & 0o777 == 0o755


def test_tokens_of_the_secret_go_on_where_they_were_all_there_was(place: DataDir, tmp_path: Path) -> None:
    """A directory from before gets keys, and says so until the operator ends it; a new one never takes any."""
    place.make()
    assert not place.takes_hs256
    before = DataDir(tmp_path / "before")
    before.root.mkdir()
    (before.root / "secret").write_text("s" * 48)
    for _ in range(2):
        before.make()
        assert before.takes_hs256
        assert before.keys.public.exists()
    assert Deployment(before.root).settings("stock").takes_hs256
    for _ in range(2):
        before.refuse_hs256()
        before.make()
        assert not before.takes_hs256
    assert not Deployment(before.root).settings("stock").takes_hs256


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """Where a file is in the way, the line names it and the option that helps."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="--data-dir"):
        DataDir(tmp_path / "file" / "var").make()


def test_there_is_no_secret_without_a_deployment(place: DataDir) -> None:
    """Who asks an empty place for its secret is told how to start a deployment."""
    with pytest.raises(NoDeployment, match="up --data-dir"):
        place.secret()


def test_reset_deletes_what_is_ours(place: DataDir) -> None:
    """Databases, their WAL files, logs and the secret go."""
    place.make()
    for name in ("order.db", "order.db-wal", "broker.db-shm", "log/order.log"):
        (place.root / name).write_text("x")
    place.reset()
    assert list(place.root.iterdir()) == []


def test_reset_of_nothing_is_nothing(place: DataDir) -> None:
    """A data directory that does not exist needs no reset."""
    place.reset()
    assert not place.root.exists()


def test_reset_refuses_a_directory_with_anything_else(place: DataDir) -> None:
    """One file that isn't ours, and nothing at all is deleted."""
    place.make()
    (place.root / "thesis.tex").write_text("years of work")
    with pytest.raises(CommandFailed, match="thesis"):
        place.reset()
    assert (place.root / "secret").exists()


def test_reset_refuses_a_directory_that_was_never_ours(place: DataDir) -> None:
    """Without a secret file it is no data directory, even if the names match."""
    (place.root / "log").mkdir(parents=True)
    with pytest.raises(CommandFailed, match="no secret"):
        place.reset()


def test_reset_refuses_while_a_supervisor_runs(place: DataDir) -> None:
    """What is in use is not deleted."""
    place.make()
    lock = place.lock
    lock.acquire()
    with pytest.raises(AlreadyRunning):
        place.reset()
    lock.release()
    place.reset()


def test_an_unreadable_state_file_is_one_clear_line(place: DataDir) -> None:
    """A state file that is no JSON names itself, instead of a traceback."""
    place.make()
    place.state_file.write_text("{")
    with pytest.raises(CommandFailed, match="can't be read"):
        Deployment.find(place.root)


def test_a_plan_refuses_settings_that_do_not_exist() -> None:
    """A misspelt setting would otherwise be silently without effect."""
    with pytest.raises(CommandFailed, match="pay_timeot"):
        Plan(extra={"pay_timeot": 1})
    with pytest.raises(CommandFailed, match="port-base"):
        Plan(port_base=65535)


def test_free_ports_are_free() -> None:
    """What `free_port_base` returns can be listened on."""
    assert ports_are_free(Plan(free_port_base()))


def test_a_hint_works_when_pasted(place: DataDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the clone a hint is short; elsewhere it names the script's own place; a path with spaces is quoted."""
    monkeypatch.chdir(PACKAGES)
    assert DataDir(default_data_dir()).hint("down") == "./scripts/down"
    assert place.hint("token alice") == f"./scripts/token alice --data-dir {place.root}"
    assert DataDir(Path("/a b")).hint("up") == "./scripts/up --data-dir '/a b'"
    monkeypatch.chdir(tmp_path)
    assert place.hint("up").startswith(f"{PACKAGES}/scripts/up ")
