"""What is installed, and how: a directory of small scripts stands in for the system's programs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.errors import CommandFailed
from ops.stack import packages

SERVERS = ("mariadbd", "mariadb-install-db", "my_print_defaults", "resolveip")
Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Put a program into the only directory that is looked into."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(packages, "_SYSTEM_FOLDERS", ())

    def put(name: str, does: str = ":") -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)
        return path

    put("env", 'shift 2; exec "$@"')
    return put


def java(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-04-15' >&2"


def test_nothing_is_installed_where_nothing_is_missing(script: Script) -> None:
    """Programs that are there are used as they are; redis-tools is enough for Redis."""
    for name in SERVERS:
        script(name)
    redis = script("redis-check-rdb")
    script("java", java("11.0.2"))
    found = packages.ensure(with_maven=False, say=pytest.fail)
    assert found.redis == str(redis)


def test_what_is_missing_is_installed_without_services_and_without_removing(script: Script, tmp_path: Path) -> None:
    """Of apt, programs only are asked for; it may remove nothing, and is believed only if they are there afterwards."""
    script("java", java("1.8.0_392"))
    script("apt-cache", "echo '  Candidate: 17'")
    script("apt-get", f'echo "$@" >>{tmp_path}/asked')
    with pytest.raises(CommandFailed, match="still missing"):
        packages.ensure(with_maven=True, say=lambda _: None)
    update, install = (tmp_path / "asked").read_text().splitlines()
    assert update.startswith("update")
    assert {"--no-remove", "--no-install-recommends"} <= set(install.split())
    assert install.split()[-5:] == [
        "mariadb-server-core", "mariadb-client-core", "redis-tools", "openjdk-17-jre-headless", "maven",
    ]  # fmt: skip


def test_another_installation_is_waited_for(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stacks that are started at once on a fresh machine: apt-get refuses the second, which has it then as well."""
    monkeypatch.setattr(packages, "_BETWEEN_TRIES", 0.01)
    script("java", java("17.0.1"))
    for name in ("chmod", "ln"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    programs = " ".join(f"{tmp_path}/bin/{name}" for name in (*SERVERS, "redis-server"))
    script(
        "apt-get",
        f'echo "$1" >>{tmp_path}/asked\n'
        f"if [ ! -e {tmp_path}/asked2 ]; then : >{tmp_path}/asked2; echo E: Could not get lock >&2; exit 100; fi\n"
        f'for each in {programs}; do echo "#!/bin/sh" >"$each"; chmod +x "$each"; done',
    )
    said: list[str] = []
    packages.ensure(with_maven=False, say=said.append)
    assert (tmp_path / "asked").read_text().split() == ["update", "update"], (
        "what the other one installed was installed again"
    )
    assert [line for line in said if "waiting for it" in line], "nothing says why it takes longer"


def test_another_installation_is_waited_for_with_a_bound(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what apt said is told."""
    monkeypatch.setattr(packages, "_LONGEST_WAIT", 0.0)
    script("java", java("17.0.1"))
    script("apt-get", "echo E: Could not get lock; exit 100")
    with pytest.raises(CommandFailed, match="Could not get lock"):
        packages.ensure(with_maven=False, say=pytest.fail)


def test_another_java_is_taken_where_17_is_not_offered(script: Script) -> None:
    """Debian 13 has no Java 17."""
    script("apt-cache", "[ $2 = default-jre-headless ] && echo '  Candidate: 21' || echo '  Candidate: (none)'")
    assert packages.missing(with_maven=False)[-1] == "default-jre-headless"


def test_who_is_not_root_is_told_what_to_install(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sudo the command to run as root is said."""
    script("apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CommandFailed, match=r"run as root: apt-get .*install .*mariadb-server-core.*redis-tools"):
        packages.ensure(with_maven=False, say=lambda _: None)


def test_another_system_is_told_what_it_needs(script: Script) -> None:
    """Where there is no apt, nothing is tried."""
    script("true")
    with pytest.raises(CommandFailed, match=r"no Debian or Ubuntu: install MariaDB"):
        packages.ensure(with_maven=False, say=lambda _: None)


@pytest.mark.parametrize(("said", "major"), [("17.0.15", 17), ("1.8.0_392", 8), ("21", 21), ("none", 0)])
def test_the_version_of_a_java_is_read(script: Script, said: str, major: int) -> None:
    """Old and new ways of counting."""
    assert packages.java_version(str(script("java", java(said)))) == major
