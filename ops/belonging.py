"""Whose a process is, and which directory this is: a copied data directory must not take the original's for its own.

Pid files, state and lock files go along with a copy, so what they say proves nothing. The kernel's word does: each
process that we start holds `run/lock` of its directory open. A copy's has another inode, and while a file is open no
other one is given its number, whatever was deleted and restored meanwhile. It proves the pid as well: a stranger that
was given it later holds nothing of ours.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LOCK = Path("run", "lock")
"""The file in a data directory that its processes hold open."""


def belongs(pid: int, *files: Path) -> bool:
    """Whether a process holds one of `files` open, as far as the kernel lets us look."""
    try:
        return holds_open(pid, *files)
    except PermissionError:
        return False


def holds_open(pid: int, *files: Path) -> bool:
    """Whether a process holds one of `files` open. Raise PermissionError where the process is another user's."""
    wanted = {found for file in files if (found := _identity(file)) is not None}
    return any(_identity(descriptor) in wanted for descriptor in _descriptors(pid))


def open_mark(root: Path) -> int:
    """Return a new descriptor of the file by which a process proves to belong to `root`; it is made if missing."""
    return os.open(root / LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def boot() -> str:
    """Return what names this boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class Home:
    """A directory, by what stays when it is moved within its file system and differs in a copy."""

    path: str
    device: int
    inode: int
    boot: str

    @classmethod
    def of(cls, root: Path) -> Self:
        """Return that of a directory. Raise OSError."""
        found = root.stat()
        return cls(str(root), found.st_dev, found.st_ino, boot())

    def is_at(self, root: Path) -> bool:
        """Whether `root` is this directory, whatever path leads to it."""
        try:
            found = root.stat()
        except OSError:
            return False
        # what a file system is called may change with each boot
        return found.st_ino == self.inode and (found.st_dev == self.device or self.boot != boot())


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    return found.st_dev, found.st_ino


def _descriptors(pid: int) -> Iterator[Path]:
    """Yield the open descriptors of a process, also of one whose first thread has ended."""
    try:
        for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
            found = sorted((task / "fd").iterdir(), key=lambda descriptor: int(descriptor.name))
            if found:
                yield from found
                return
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return
