"""`orders users`, with users that are played."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.commands import users
from ops.deployment import Deployment
from ops.errors import CommandFailed


class Played:
    """One user, called root."""

    def __init__(self) -> None:
        self.admins: list[str] = []

    def has(self, name: str) -> bool:
        return name == "root"

    def set_admin(self, name: str, *, is_admin: bool) -> None:
        assert is_admin
        self.admins.append(name)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    made = Played()

    @contextmanager
    def opened(_: Deployment) -> Iterator[Played]:
        yield made

    monkeypatch.setattr(users, "opened", opened)
    monkeypatch.setattr(Deployment, "find", Deployment)
    return made


def test_a_password_is_for_a_new_user(played: Played, tmp_path: Path) -> None:
    """One that is given for a user that there is is not dropped without a word: nothing is done."""
    words = ["add-admin", "root", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(users.command, [*words, "--password-stdin"], input="a long password\n")
    assert isinstance(done.exception, CommandFailed)
    assert "leave out --password-stdin" in str(done.exception)
    assert played.admins == []
    assert CliRunner().invoke(users.command, words).exit_code == 0
    assert played.admins == ["root"]
