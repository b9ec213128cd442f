"""Debian and Ubuntu packages that the stack needs.

Only the servers' programs are installed (mariadb-server-core, redis-tools), not the packages that run them as system
services: nothing is started or enabled by apt, so nothing can clash with a service that is there already. The program
in redis-tools is Redis itself (/usr/bin/redis-server of package redis-server is a link to it); it goes by its name.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.errors import CommandFailed

_OLDEST_JAVA = 11
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # not on the PATH of every user
_MAVEN = "maven"
_JAVA = ("openjdk-17-jre-headless", "default-jre-headless")
_MARIADB = ("mariadb-server-core", "mariadb-client-core")
_MARIADB_PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults", "resolveip")
_LONGEST_WAIT = 300.0
"""Seconds that another program which installs packages is waited for."""
_BETWEEN_TRIES = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are. `redis` is a file that is Redis when it is called `redis-server`."""

    java: str
    mariadbd: str
    mariadb_install_db: str
    redis: str


def find(name: str) -> str | None:
    """Return the path of a program, also where only root looks for it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    return shutil.which(name, path=path)


def find_java(oldest: int = _OLDEST_JAVA) -> str | None:
    """Return a Java that is new enough, of at least the version `oldest`: that of JAVA_HOME, else that of the PATH."""
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    candidates += [java] if (java := find("java")) else []
    return next((java for java in candidates if java_version(java) >= oldest), None)


def java_version(java: str) -> int:
    """Return the major version of a Java, 0 if it tells none. `1.8.0` is 8."""
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0


def missing(*, with_maven: bool) -> list[str]:
    """Return what has to be installed; `with_maven`: RocketMQ has to be downloaded too."""
    wanted: list[str] = []
    if any(find(name) is None for name in _MARIADB_PROGRAMS):
        wanted += _MARIADB
    if find_redis() is None:
        wanted.append("redis-tools")
    return wanted + missing_java(with_maven=with_maven)


def missing_java(*, with_maven: bool, oldest: int = _OLDEST_JAVA) -> list[str]:
    """Return what has to be installed for Java alone; `with_maven`: something has to be downloaded too."""
    wanted: list[str] = []
    if find_java(oldest) is None:
        wanted.append(next((name for name in _JAVA if _is_offered(name)), _JAVA[0]))
    if with_maven and find("mvn") is None:
        wanted.append(_MAVEN)
    return wanted


def ensure(*, with_maven: bool, say: Callable[[str], None]) -> Programs:
    """Install what is missing and return where the programs are. Raise `CommandFailed`, saying what to install."""
    _install(lambda: missing(with_maven=with_maven), say)
    return programs()


def ensure_java(oldest: int, *, with_maven: bool, say: Callable[[str], None]) -> str:
    """Install Java, and Maven, where they are missing; return where Java is. Raise `CommandFailed`.

    `oldest`: the version that it must have, or a newer one.
    """
    _install(lambda: missing_java(with_maven=with_maven, oldest=oldest), say)
    java = find_java(oldest)
    if java is None:
        raise CommandFailed(f"Java {oldest} or newer is missing after the installation.")
    return java


def _install(missing: Callable[[], list[str]], say: Callable[[str], None]) -> None:
    if packages := missing():
        _refuse_other_systems()
        _as_root(["apt-get", "update", "-qq"], packages, say)  # on a fresh machine nothing is offered before it
        if not (packages := missing()):  # a stack that was started beside this one installed them
            return
        say(f"Installing {', '.join(packages)} (programs only: no system service is started) ...")
        # --no-remove: a MySQL that is installed stays; apt then says that it is in the way
        options = ("-y", "-qq", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=300")
        _as_root(["apt-get", "install", *options, *packages], packages, say)
        if still := missing():
            raise CommandFailed(f"{', '.join(still)} still missing after the installation.")


def programs() -> Programs:
    """Return where the programs are. Raise `CommandFailed` if one is missing."""
    java, redis = find_java(), find_redis()
    mariadbd, install_db = find("mariadbd"), find("mariadb-install-db")
    if java is None or redis is None or mariadbd is None or install_db is None:
        raise CommandFailed(f"Missing: {', '.join(missing(with_maven=False))}; `orders stack up` installs them.")
    return Programs(java, mariadbd, install_db, redis)


def find_redis() -> str | None:
    """Return the path of a file that is Redis when it is called `redis-server`."""
    return find("redis-server") or find("redis-check-rdb")


def _is_offered(package: str) -> bool:
    """Whether apt has a package."""
    if find("apt-cache") is None:
        return False
    said = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout  # noqa: S607 - apt's place is the system's business
    return "Candidate:" in said and "Candidate: (none)" not in said


def _refuse_other_systems() -> None:
    if find("apt-get") is None:
        raise CommandFailed(
            f"This is no Debian or Ubuntu: install MariaDB (server), Redis, Java {_OLDEST_JAVA} or newer and Maven, "
            "then try again."
        )


def _as_root(command: list[str], packages: list[str], say: Callable[[str], None]) -> None:
    """Run apt-get as root, through sudo if we are not. Raise `CommandFailed` that says how to do it by hand."""
    by_hand = f"apt-get update && apt-get install --no-install-recommends {shlex.join(packages)}"
    whole = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", *command]
    if os.geteuid() != 0:
        if (sudo := find("sudo")) is None:
            raise CommandFailed(f"Root is needed to install packages; run as root: {by_hand}")
        asks = [] if sys.stdin.isatty() else ["-n"]
        whole = [sudo, *asks, *whole]
        say(f"Needs root: sudo {shlex.join(command)}")
    waited_till = time.monotonic() + _LONGEST_WAIT
    told = False
    while True:
        done = subprocess.run(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        # Of its package lists apt-get waits for no other apt-get (DPkg::Lock::Timeout is of dpkg's lock alone), and a
        # fresh machine's first updates, or a second stack, are just that other one.
        if done.returncode == 0 or "Could not get lock" not in done.stdout or time.monotonic() >= waited_till:
            break
        if not told:
            say(f"Another program installs packages; waiting for it, {_LONGEST_WAIT:g} s at most ...")
            told = True
        time.sleep(_BETWEEN_TRIES)
    if done.returncode != 0:
        last = " ".join(done.stdout.strip().splitlines()[-3:])
        raise CommandFailed(f"Installing failed ({last}); run as root: {by_hand}")
