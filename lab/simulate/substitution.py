"""Puts what the scheduler owns in the place of clocks, chance, threads and files, in the modules of the product.

Every name of theirs that stands for one of `_stand_ins` stands for ours meanwhile; nothing else of the interpreter
changes, so that tests and the simulator itself go on with the real ones.
"""

import concurrent.futures
import datetime as dt
import os
import queue
import random
import secrets
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Self

import urllib3

from halfmessage import failpoints, sqlite_file
from halfmessage.mq.embedded.wakeup import Wakeup
from halfmessage.sqlite_file import OpenFile
from lab.simulate import primitives
from lab.simulate.scheduler import the

_PACKAGES: Final = ("common", "coupon", "halfmessage", "order", "pay", "stock")
_OTHERS: Final = ("pybreaker",)
_PID: Final = 1  # a number that is stored with messages, and the same in each run


class _Like(ModuleType):
    """A module with some other contents, else like another one."""

    def __init__(self, real: ModuleType, **others: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(others)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self.__dict__["_real"], name)  # found at once the next time
        return value


class _Datetime(dt.datetime):
    """Tells the scheduler's time."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(_seconds(), tz)


def _nanoseconds() -> int:
    return the().now


def _seconds() -> float:
    return the().now / 1e9


def _sleep(seconds: float) -> None:
    the().sleep(seconds)


def _chance(name: str) -> Callable[..., Any]:
    def draw(*args: Any, **kwargs: Any) -> Any:
        return getattr(the().random, name)(*args, **kwargs)

    return draw


def _uuid4() -> uuid.UUID:
    return uuid.UUID(int=the().random.getrandbits(128), version=4)


def _token_hex(nbytes: int = 16) -> str:
    return f"{the().random.getrandbits(8 * nbytes):0{2 * nbytes}x}"


def _undamaged(_connection: object, _within: float | None = None) -> None:
    """Stand for the look through a file that is opened: files are not damaged here, and a look takes real time."""


def _unmoved(_file: OpenFile) -> bool:
    """Stand for the look at where a file is, which three calls of the system take: none is moved here."""
    return True


def _stand_ins(connect: Callable[..., Any], pool_of: Callable[..., Any]) -> dict[int, Any]:
    """Return what stands for what, by the identity of that."""
    clock = {
        "time": _seconds,
        "time_ns": _nanoseconds,
        "monotonic": _seconds,
        "monotonic_ns": _nanoseconds,
        "perf_counter": _seconds,
        "sleep": _sleep,
    }
    chance = {name: _chance(name) for name in ("random", "uniform", "randint", "randrange", "choice", "getrandbits")}
    secret = {"randbits": _chance("getrandbits"), "choice": _chance("choice"), "token_hex": _token_hex}
    threads = {
        name: getattr(primitives, name) for name in ("Lock", "RLock", "Condition", "Event", "Semaphore", "Thread")
    }
    pools = {name: getattr(primitives, name) for name in ("Future", "ThreadPoolExecutor")}
    pairs: list[tuple[object, Any]] = [
        (time, _Like(time, **clock)),
        (random, _Like(random, **chance)),
        (secrets, _Like(secrets, **secret)),
        (uuid, _Like(uuid, uuid4=_uuid4)),
        (os, _Like(os, getpid=lambda: _PID)),
        (threading, _Like(threading, **threads)),
        (sqlite3, _Like(sqlite3, connect=connect)),
        (urllib3, _Like(urllib3, connectionpool=SimpleNamespace(connection_from_url=pool_of))),
        (queue.SimpleQueue, primitives.SimpleQueue),
        (dt.datetime, _Datetime),
        (sqlite_file.damage, _undamaged),
        *((getattr(time, name), ours) for name, ours in clock.items()),
        *((getattr(threading, name), ours) for name, ours in threads.items()),
        *((getattr(concurrent.futures, name), ours) for name, ours in pools.items()),
        (concurrent.futures.wait, primitives.wait_for),
    ]
    return {id(real): ours for real, ours in pairs}


@contextmanager
def simulated(
    *,
    connect: Callable[..., Any],
    pool_of: Callable[..., Any],
    passed: Callable[[str], None],
    watch: Callable[[Wakeup], None],
) -> Iterator[None]:
    """Have the product's modules use what the scheduler owns, as far as they are imported by now.

    `connect` opens databases in the place of `sqlite3.connect`, `pool_of` returns what calls a service in the place of
    urllib3's pool of connections; `passed` is told each failpoint, and `watch` rings a broker's bell once its file was
    changed, in the place of a look every 25 ms.
    """
    undo: list[Callable[[], None]] = []
    replaced = _stand_ins(connect, pool_of)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {*_PACKAGES, *_OTHERS} and module is not None:
            _replace(vars(module), replaced, undo)
    _assign(failpoints, "hit", passed, undo)
    _assign(OpenFile, "is_there", _unmoved, undo)
    _assign(Wakeup, "_watch", lambda wakeup: watch(wakeup), undo)  # noqa: PLW0108 - a function, of which a method is made
    try:
        yield
    finally:
        for step in reversed(undo):
            step()


def _replace(names: dict[str, Any], replaced: Mapping[int, Any], undo: list[Callable[[], None]]) -> None:
    for name, value in list(names.items()):
        if id(value) in replaced:
            names[name] = replaced[id(value)]
            undo.append(lambda name=name, value=value: names.__setitem__(name, value))  # type: ignore[misc]
        elif isinstance(value, type):
            _replace_defaults(value, replaced, undo)


def _replace_defaults(kind: type, replaced: Mapping[int, Any], undo: list[Callable[[], None]]) -> None:
    """Replace factories of a dataclass's fields, which its constructor closes over."""
    for cell in getattr(kind.__init__, "__closure__", None) or ():  # type: ignore[misc]
        value = cell.cell_contents
        if id(value) in replaced:
            cell.cell_contents = replaced[id(value)]
            undo.append(lambda cell=cell, value=value: setattr(cell, "cell_contents", value))  # type: ignore[misc]


def _assign(owner: Any, name: str, value: Any, undo: list[Callable[[], None]]) -> None:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    undo.append(lambda: setattr(owner, name, before))
