"""Zipkin, which shows traces: its jar is fetched once a user, by Maven, and it runs beside the servers of a stack.

It keeps traces in memory, so that they end with it: https://github.com/openzipkin/zipkin/tree/3.5.1/zipkin-server
"""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import urllib3

from ops.errors import CommandFailed
from ops.plan import QUIET_PORTS
from ops.stack import jars, packages
from ops.stack.daemons import Daemon, Program
from ops.stack.plan import HOST, is_free, write_private
from ops.waiting import wait_for

NAME: Final = "zipkin"
VERSION: Final = "3.5.1"
SHA256: Final = "7ac633a6832647e71e50012a5e3e91fbc7054414955261724526030faf271d8d"
"""Of `zipkin-server-3.5.1-exec.jar`, as Maven Central has it (its SHA-1: 38091e0934648a5dc884ad17c62cf2f6502f4ff2)."""
USUAL_PORT: Final = 9411

_ARTIFACT = f"io.zipkin:zipkin-server:{VERSION}:jar:exec"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_LONGEST = 1200.0  # seconds a download may take
_JVM = ("-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_MOST_SPANS = "100000"  # kept; then the oldest traces go. Some 40 spans an order
_READY_WITHIN = 120.0
_STOP_WITHIN = 20.0
_PROBE_WITHIN = 2.0
_TRIED_PORTS = 100


class Zipkin:
    """One Zipkin, in the data directory of a stack. Its caller holds the stack's lock."""

    def __init__(self, root: Path, *, say: Callable[[str], None] = print) -> None:
        """Name the directory, which has `run` and `log`; nothing is made or started."""
        self._daemon = Daemon(NAME, root)
        self._port_file = root / "run" / "zipkin.port"
        self._home = root
        self._say = say

    @property
    def url(self) -> str | None:
        """Where it answers; None: it does not run."""
        if self._daemon.running() is None:
            return None
        return f"http://{HOST}:{self._port_file.read_text(encoding='ascii')}"

    @property
    def log(self) -> Path:
        """What it said."""
        return self._daemon.log

    def up(self, *, within: float = _READY_WITHIN) -> str:
        """Fetch what is missing, start it if it does not run, and return its URL. Raise `CommandFailed`, `NotInTime`.

        It listens on its usual port; where that is in use, on a free one, which it keeps.
        """
        if (url := self.url) is None:
            java, jar = packages.ensure_java(with_maven=not _jar().is_file(), say=self._say), _ensure(self._say)
            port = self._free_port()
            write_private(self._port_file, str(port))
            self._say(f"Starting Zipkin {VERSION} ...")
            self._daemon.start(self._program(java, jar, port))
            url = f"http://{HOST}:{port}"
        wait_for(f"zipkin to answer (its log: {self.log})", lambda: self._answers(url), within=within, every=0.1)
        return url

    def down(self) -> None:
        """Stop it, if it runs; its traces are gone then."""
        known = self._daemon.signal(signal.SIGTERM)
        if known is not None:
            self._daemon.wait_stopped(known, within=_STOP_WITHIN)
        self._daemon.forget()

    def _answers(self, url: str) -> bool:
        if self._daemon.running() is None:
            raise CommandFailed(f"zipkin ended while it started; see {self.log}.")
        try:
            answer = urllib3.request("GET", f"{url}/health", retries=False, timeout=_PROBE_WITHIN)
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
        except urllib3.exceptions.HTTPError:
            return False

    def _free_port(self) -> int:
        had = [int(self._port_file.read_text(encoding="ascii"))] if self._port_file.exists() else []
        for port in (*had, USUAL_PORT, *secrets.SystemRandom().sample(QUIET_PORTS, _TRIED_PORTS)):
            if is_free(port):
                return port
        raise CommandFailed(f"No free port for zipkin was found on {HOST}.")

    def _program(self, java: str, jar: Path, port: int) -> Program:
        listen = {"port": str(port), "ip": HOST, "protocols[0]": "http"}  # without an address it listens on all of them
        arguments = (
            *("java", *_JVM, f"-Duser.home={self._home}", f"-XX:ErrorFile={self._home}/log/java-%p.log"),
            *("-jar", str(jar)),
            *(f"--armeria.ports[0].{name}={value}" for name, value in listen.items()),
        )
        return Program(java, arguments, {"STORAGE_TYPE": "mem", "MEM_MAX_SPANS": _MOST_SPANS})


def _jar() -> Path:
    return jars.cache_dir() / f"zipkin-{VERSION}-{SHA256[:8]}.jar"


def _ensure(say: Callable[[str], None]) -> Path:
    """Fetch the jar if it is missing; another process that does so is waited for. Raise `CommandFailed`."""
    with jars.locked_cache():
        if not _jar().is_file():
            say(f"Fetching Zipkin {VERSION} with Maven (once; 131 MB) ...")
            _fetch()
    return _jar()


def _fetch() -> None:
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=jars.cache_dir()) as draft:
        repository = jars.cache_dir() / "maven"  # kept when a download fails, so that the next one goes on from there
        command = [
            packages.find("mvn") or "mvn",
            *("--batch-mode", "--quiet", f"-Dmaven.repo.local={repository}", _PLUGIN),
            *(f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={draft}"),
        ]
        try:
            done = subprocess.run(
                command, cwd=draft, capture_output=True, text=True, check=False, timeout=_LONGEST, env=os.environ
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandFailed(f"Maven could not fetch Zipkin {VERSION}: {error}.") from error
        if done.returncode != 0:
            said = " ".join((done.stdout + done.stderr).strip().splitlines()[:3])
            raise CommandFailed(f"Maven could not fetch Zipkin {VERSION} ({said}). Is there a network? Try again.")
        (got,) = Path(draft).glob("*.jar")
        verify(got)
        got.rename(_jar())
        shutil.rmtree(repository)


def verify(jar: Path) -> None:
    """Raise `CommandFailed` unless a file is the jar that we know."""
    with jar.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise CommandFailed(f"What Maven fetched as Zipkin {VERSION} is not what we know (SHA-256 {found}): not used.")
