"""Replaces a file whole: who reads it, or dies over writing it, sees the one before or the new one."""

import os
from contextlib import suppress
from pathlib import Path

PLAIN = 0o666  # less what the process's umask takes, as of any new file


def replace_file(path: Path, content: bytes, *, mode: int = PLAIN) -> None:
    """Have a file hold these bytes, of a new file's `mode`; its folder is made if there is none.

    Raise `OSError`: the file before stays, and nothing else is left.
    """
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.unlink(missing_ok=True)  # of a process that had this number, and died over it
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
