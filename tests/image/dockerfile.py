"""Carries out a Dockerfile without an engine: its instructions, one after the other, in a root directory of Debian.

It knows the instructions that `docker/Dockerfile` has, and refuses any other. What an engine adds (layers, digests,
the base image itself) is not played: every stage begins as a copy of one Debian with Python.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SAYS_NOTHING_HERE = frozenset({"EXPOSE", "STOPSIGNAL"})


@dataclass(slots=True)
class Image:
    """One stage: its root directory, and what its instructions have set."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    command: Sequence[str] = ()
    health: Sequence[str] = ()


def instructions(text: str) -> list[tuple[str, str]]:
    """Return (NAME, the rest) of each instruction, lines joined where they end in a backslash."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    parted = (line.strip().partition(" ") for line in whole if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in parted]


class Builder:
    """Builds the stages of one Dockerfile."""

    def __init__(self, context: Path, base: Path, work: Path, inherited: Mapping[str, str]) -> None:
        """Take where COPY reads, the Debian that each stage copies, where stages go, and what RUN sees besides."""
        self._context, self._base, self._work = context, base, work
        self._inherited = inherited
        self._stages: dict[str, Image] = {}
        self._image = Image(base)
        self._carry_out: Mapping[str, Callable[[str], None]] = {
            "FROM": self._from,
            "WORKDIR": self._workdir,
            "RUN": self._run,
            "COPY": self._copy,
            "ENV": self._env,
            "USER": self._user,
            "CMD": self._cmd,
            "HEALTHCHECK": self._healthcheck,
        }

    def build(self, text: str, say: Callable[[str], None]) -> Image:
        """Carry out all; return the last stage."""
        for name, rest in instructions(text):
            if name in SAYS_NOTHING_HERE:
                continue
            say(f"{name} {rest}")
            self._carry_out[name](rest)
        return self._image

    def _from(self, rest: str) -> None:
        name = rest.rpartition(" AS ")[2]
        self._image = Image(self._work / f"stage-{len(self._stages)}")
        self._stages[name] = self._image
        subprocess.run(["cp", "--archive", self._base, self._image.root], check=True)

    def _workdir(self, rest: str) -> None:
        self._image.directory = rest
        self._path(rest).mkdir(parents=True, exist_ok=True)

    def _run(self, rest: str) -> None:
        subprocess.run([*sandbox(self._image, self._inherited, writable=True), "sh", "-ec", rest], check=True)

    def _copy(self, rest: str) -> None:
        words = shlex.split(rest)
        stage = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
        *sources, target = (word for word in words if not word.startswith("--"))
        start = self._stages[stage[0]].root if stage else self._context
        for source in sources:
            self._copy_one(start / source.lstrip("/"), self._path(str(PurePosixPath(self._image.directory, target))))

    @staticmethod
    def _copy_one(source: Path, target: Path) -> None:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")  # as Dockerfile.dockerignore says
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(source, target)

    def _env(self, rest: str) -> None:
        known = self._image.environment
        for word in shlex.split(rest):
            name, _, value = word.partition("=")
            known[name] = value.replace("$PATH", known.get("PATH", DEFAULT_PATH))

    def _user(self, rest: str) -> None:
        self._image.user = rest

    def _cmd(self, rest: str) -> None:
        self._image.command = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self._image.health = json.loads(rest.partition("CMD ")[2])

    def _path(self, inside: str) -> Path:
        return self._image.root / inside.lstrip("/")


DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def sandbox(image: Image, environment: Mapping[str, str], *, writable: bool) -> list[str]:
    """Return the words that run a command in an image, as its user; not `writable`: /tmp alone can be written to."""
    user, _, group = image.user.partition(":")
    merged = {"PATH": DEFAULT_PATH, **image.environment, **environment}
    files = ["--bind", str(image.root), "/"] if writable else ["--ro-bind", str(image.root), "/", "--tmpfs", "/tmp"]
    return [
        *("bwrap", *files, "--dev", "/dev", "--proc", "/proc", "--cap-add", "ALL", "--die-with-parent", "--clearenv"),
        *(word for name, value in merged.items() for word in ("--setenv", name, value)),
        *("--chdir", image.directory, "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
    ]
