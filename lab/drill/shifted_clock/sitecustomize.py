"""Imported by Python as a drilled process starts, before anything else: shifts `time.time` and `time.time_ns`.

See the package's docstring. The shift is read from shared memory at each call, so it costs next to nothing.
"""

import mmap
import os
import struct
import time

_SHIFT = struct.Struct("<d")
_true_time, _true_time_ns = time.time, time.time_ns


def _install(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is a slow import in every start
        shared = mmap.mmap(file.fileno(), _SHIFT.size, access=mmap.ACCESS_READ)

    def seconds() -> float:
        (shift,) = _SHIFT.unpack(shared[: _SHIFT.size])
        return float(shift)

    def shifted_time() -> float:
        return _true_time() + seconds()

    def shifted_time_ns() -> int:
        return _true_time_ns() + int(seconds() * 1e9)

    time.time, time.time_ns = shifted_time, shifted_time_ns


if "ORDERS_DRILL_CLOCK" in os.environ:
    _install(os.environ["ORDERS_DRILL_CLOCK"])
