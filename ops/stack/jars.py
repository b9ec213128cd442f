"""RocketMQ's jars: fetched once by Maven, by `pom.xml` beside this, and shared by all data directories of a user."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.errors import CommandFailed
from ops.stack.packages import find
from ops.stack.settings import ROCKETMQ_VERSION

POM = Path(__file__).with_name("pom.xml")
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_LONGEST = 1200.0  # seconds a download may take


def cache_dir() -> Path:
    """Return where the jars are kept: XDG_CACHE_HOME/orders-on-rocketmq, ~/.cache where it is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # https://specifications.freedesktop.org/basedir-spec/latest/: a relative path is to be ignored
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "orders-on-rocketmq"


def folder() -> Path:
    """Return where the jars of this very pom are, or are to be."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    return cache_dir() / f"rocketmq-{ROCKETMQ_VERSION}-{digest}"


def are_there() -> bool:
    """Whether the jars were fetched: the folder appears whole or not at all."""
    return folder().is_dir()


def classpath() -> str:
    """Return what goes behind `java -cp`."""
    return f"{folder()}/*"


def ensure(say: Callable[[str], None]) -> None:
    """Fetch the jars if they are missing; another process that does so is waited for. Raise `CommandFailed`."""
    if are_there():
        return
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{cache_dir()}: {error.strerror}; set XDG_CACHE_HOME to another place.") from error
    with _locked(cache_dir() / "lock"):
        if not are_there():
            say(f"Fetching RocketMQ {ROCKETMQ_VERSION} with Maven (once; about 90 MB) ...")
            _fetch()


def _fetch() -> None:
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache_dir()) as draft:
        repository = cache_dir() / "maven"  # kept when a download fails, so that the next one goes on from there
        command = [
            find("mvn") or "mvn",
            *("--batch-mode", "--quiet", "--file", str(POM)),
            *(f"-Dmaven.repo.local={repository}", f"-DoutputDirectory={draft}/lib", _PLUGIN),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandFailed(f"Maven could not fetch RocketMQ: {error}.") from error
        if done.returncode != 0:
            said = " ".join((done.stdout + done.stderr).strip().splitlines()[:3])
            raise CommandFailed(f"Maven could not fetch RocketMQ ({said}). Is there a network? Try again.")
        (Path(draft) / "lib").rename(folder())
        shutil.rmtree(repository)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
