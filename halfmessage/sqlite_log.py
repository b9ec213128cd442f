"""Whether the log of a SQLite database (its -wal) was cut short by damage, which SQLite itself takes for its end.

After a crash SQLite reads the log up to the first frame whose checksum does not fit. A power loss leaves such a frame
in the last transaction, which no client was told of. A bit that flipped leaves one anywhere: all transactions behind it
are gone without a word, acknowledged or not. They can be told apart: with synchronous=FULL nothing is written behind
a commit that is not on the disk. Format: https://sqlite.org/fileformat2.html#the_write_ahead_log .
"""

import sqlite3
import struct
import time
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

MOST = 64 * 1024 * 1024
"""Bytes of a log that is looked at: eight times what check-points leave. One that is larger is not."""

_HEADER, _FRAME_HEADER = 32, 24
_LOOKS = 3  # at a log that others write to meanwhile
_PAUSE = 0.05  # seconds between them
_MASK = 0xFFFFFFFF


def cut_short(path: Path, page_size: int) -> str | None:
    """Return in words that transactions in the log of `path` are lost behind damage, None: nothing like it was seen.

    Others may write to it meanwhile: what is not the same at two looks, `_PAUSE` seconds apart, is no damage.
    """
    try:
        return _cut_short(Path(f"{path}-wal"), page_size)
    except (OSError, sqlite3.Error) as error:  # no room for a copy: no reason to refuse a file that may be sound
        structlog.get_logger().warning("a log was not looked at for damage", path=str(path), reason=str(error))
        return None


def _cut_short(path: Path, page_size: int) -> str | None:
    before = None
    for _ in range(_LOOKS):
        log = _read(path)
        lost = _lost_frame(log, page_size)
        if lost is None:
            return None
        if log == before:
            return f"the log is damaged before its frame {lost}: transactions from there on would be lost"
        before = log
        time.sleep(_PAUSE)
    return None


def _read(path: Path) -> bytes:
    """Return the log, nothing of one that is missing or too large. No lock of SQLite is on it that this could drop."""
    with suppress(FileNotFoundError):
        if path.stat().st_size <= MOST:
            return path.read_bytes()
    return b""


def _lost_frame(log: bytes, page_size: int) -> int | None:
    """Return the first frame (from 1) behind the end that SQLite sees which follows a commit, None: there is none.

    It follows it for certain: its checksum goes on from that of the commit. What two power losses left would not.
    """
    step = _FRAME_HEADER + page_size
    frames = [log[at : at + step] for at in range(_HEADER, len(log) - step + 1, step)]
    salts = log[16:24] if _is_header(log[:_HEADER]) else None
    valid = 0 if salts is None or len(frames) <= 1 else _valid_frames(log, page_size)
    for number, (frame, behind) in enumerate(pairwise(frames[valid:]), valid + 2):
        is_commit, of_this_log = frame[4:8] != bytes(4), salts in (None, frame[8:16])
        if is_commit and of_this_log and frame[8:16] == behind[8:16] and _goes_on(frame, behind):
            return number
    return None


def _is_header(header: bytes) -> bool:
    """Whether the checksum of a header fits."""
    return len(header) == _HEADER and _fits(bytes(8), header[:24], header[24:])


def _goes_on(frame: bytes, behind: bytes) -> bool:
    return _fits(frame[16:24], behind[:8] + behind[_FRAME_HEADER:], behind[16:24])


def _fits(before: bytes, content: bytes, after: bytes) -> bool:
    """Whether the checksum of `content` goes on from `before` to `after`; its words are of either byte order."""
    return any(_checksum(before, content, order) == struct.unpack(">2I", after) for order in "<>")


def _checksum(before: bytes, content: bytes, order: str) -> tuple[int, int]:
    first, second = struct.unpack(">2I", before)
    for one, other in struct.iter_unpack(f"{order}2I", content):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second


def _valid_frames(log: bytes, page_size: int) -> int:
    """Return how many frames SQLite takes: it is asked, by a copy of the log beside an empty database.

    It writes them into its index of the copy, `mxFrame` of https://sqlite.org/walformat.html#the_wal_index_header, as a
    transaction begins. Nothing else is asked of it, for the pages that are not in the log it does not have.
    """
    with TemporaryDirectory(prefix="orders-log-") as directory:
        copy = Path(directory, "copy.db")
        with closing(sqlite3.connect(copy)) as empty:
            empty.execute("PRAGMA synchronous=OFF")
            empty.execute(f"PRAGMA page_size={page_size}")
            empty.execute("PRAGMA journal_mode=WAL")
        Path(f"{copy}-wal").write_bytes(log)
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (frames,) = struct.unpack_from("=I", Path(f"{copy}-shm").read_bytes(), 16)
            return int(frames)
