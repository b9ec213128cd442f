"""RocketMQ's jars: each version is fetched once by Maven, with `pom.xml`, and shared by all stacks of a user."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops import versions
from ops.errors import CommandFailed
from ops.stack.packages import find

POM = Path(__file__).with_name("pom.xml")
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_LONGEST = 1200.0  # seconds a download may take


def cache_dir() -> Path:
    """Return where the jars are kept: XDG_CACHE_HOME/orders-on-rocketmq, ~/.cache where it is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # https://specifications.freedesktop.org/basedir-spec/latest/: a relative path is to be ignored
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "orders-on-rocketmq"


def folder(version: str) -> Path:
    """Return where the jars of a version are, or are to be, as this very pom fetches them."""
    asked = POM.read_text(encoding="utf-8").replace(versions.DEFAULT, "")  # another default leaves all as they are
    return cache_dir() / f"rocketmq-{version}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def are_there(version: str) -> bool:
    """Whether the jars were fetched: the folder appears whole or not at all."""
    return folder(version).is_dir()


def classpath(version: str) -> str:
    """Return what goes behind `java -cp`."""
    return f"{folder(version)}/*"


def ensure(version: str, say: Callable[[str], None]) -> None:
    """Fetch a version's jars if they are missing; another process that does so is waited for. Raise `CommandFailed`."""
    if are_there(version):
        return
    with locked_cache():
        if not are_there(version):
            say(f"Fetching RocketMQ {version} with Maven (once; about 100 MB) ...")
            _fetch(version)


def _fetch(version: str) -> None:
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache_dir()) as draft:
        repository = cache_dir() / "maven"  # kept when a download fails, so that the next one goes on from there
        command = [
            find("mvn") or "mvn",
            *("--batch-mode", "--quiet", "--file", str(POM)),
            *(f"-Drocketmq.version={version}", f"-Dmaven.repo.local={repository}", f"-DoutputDirectory={draft}/lib"),
            _PLUGIN,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandFailed(f"Maven could not fetch RocketMQ {version}: {error}.") from error
        if done.returncode != 0:
            said = " ".join((done.stdout + done.stderr).strip().splitlines()[:3])
            raise CommandFailed(f"Maven could not fetch RocketMQ {version} ({said}). Is there a network? Try again.")
        (Path(draft) / "lib").rename(folder(version))
        shutil.rmtree(repository)


@contextmanager
def locked_cache() -> Iterator[None]:
    """Make the cache, and hold its lock: one process fetches at a time. Raise `CommandFailed`."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{cache_dir()}: {error.strerror}; set XDG_CACHE_HOME to another place.") from error
    with (cache_dir() / "lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
