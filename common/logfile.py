"""A log that several processes write, bounded in size and number, and followed when somebody moves it.

Each line is appended by one write, and rotating is renaming: a process that has not noticed yet writes into the renamed
file, so no line is lost, whichever process rotates. What logrotate does is followed too: moved or deleted, the file is
made anew with the next line; truncated (`copytruncate`), it is gone on with from its start, as everything is appended.
"""

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

LARGEST = 16 * 1024 * 1024  # bytes of a log, about: then it becomes NAME.1, that NAME.2, and so on
KEPT = 4  # old ones beside it
_STREAMS = (1, 2)  # what an interpreter or a library writes by itself goes along


class LogFile:
    """This process's standard output and error, in a file."""

    def __init__(self, path: Path, *, largest: int = LARGEST, kept: int = KEPT) -> None:
        """Name the file; it is opened with the first line, if it is not what our standard error is already."""
        self._path, self._largest, self._kept = path, largest, kept
        self._guard = threading.Lock()
        self._identity = _identity(os.fstat(2))

    def write(self, line: bytes) -> None:
        """Append a whole line. What can't be written is lost: a full disk under the log must not fail requests."""
        self.follow()
        with suppress(OSError):
            os.write(2, line)

    def flush(self) -> None:
        """Nothing is held back."""

    def follow(self) -> None:
        """Rotate the file if it has grown large; go on with what the path names now. Where neither works, go on."""
        with self._guard, suppress(OSError):
            try:
                found = os.stat(self._path)  # noqa: PTH116 - on every line, and twice as fast
            except FileNotFoundError:
                self._open()
                return
            if _identity(found) != self._identity or (
                found.st_size >= self._largest and rotate(self._path, largest=self._largest, kept=self._kept)
            ):
                self._open()

    def _open(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            for stream in _STREAMS:
                os.dup2(descriptor, stream)
            self._identity = _identity(os.fstat(descriptor))
        finally:
            os.close(descriptor)


def rotate(path: Path, *, largest: int = LARGEST, kept: int = KEPT) -> bool:
    """Rename a log that has grown to `largest` bytes; return whether the path names another file now, or none.

    One process does it, others go on meanwhile. Raise OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the file's, so that no other rotates its successor
        found = path.stat()
        if _identity(found) != _identity(os.fstat(descriptor)):
            return True
        if found.st_size < largest:
            return False
        for number in range(kept, 0, -1):
            newer = path if number == 1 else _old(path, number - 1)
            with suppress(FileNotFoundError):
                newer.replace(_old(path, number))
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
