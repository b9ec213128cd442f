"""A clock that a drill can set for one process.

This directory, put on PYTHONPATH, makes Python import `sitecustomize` as that process starts. Services know nothing of
it: what they read as the wall clock is the machine's, plus what the drill wrote into a file.
"""

import struct
from pathlib import Path

VARIABLE = "ORDERS_DRILL_CLOCK"
SHIFT = struct.Struct("<d")  # seconds


class Clock:
    """The hand on one process's clock."""

    def __init__(self, file: Path) -> None:
        """Make the file; the clock is right until it is shifted."""
        self._file = file
        file.write_bytes(SHIFT.pack(0.0))

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to have its clock shifted."""
        return {"PYTHONPATH": str(Path(__file__).parent), VARIABLE: str(self._file)}

    def shift(self, seconds: float) -> None:
        """Have the process see the machine's time plus so much, from now on."""
        with self._file.open("r+b") as file:
            file.write(SHIFT.pack(seconds))
