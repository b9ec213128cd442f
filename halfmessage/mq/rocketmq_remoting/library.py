"""Finds Apache's `rocketmq` package of 2019 and the native library under it, when somebody asks for them.

It is imported by name because two packages install a top-level `rocketmq`, and a type checker can know only one.
"""

import ctypes
import ctypes.util
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from halfmessage.errors import BrokerError, Misconfigured

_MISSING = (
    "rocketmq4:// does not work here ({reason}). It needs pip install '.[rocketmq4]', and a librocketmq 2.x built "
    "from https://github.com/apache/rocketmq-client-cpp/releases where the loader finds it, or named in the URL: "
    "rocketmq4://host:9876?library=/usr/local/lib/librocketmq.so. That package and the gRPC client "
    "(rocketmq-python-client) both install 'rocketmq': an environment holds only one of them. See docs/rocketmq4.md."
)
_OURS = "rocketmq"
_VERSION = re.compile(rb"VERSION: (\d+)\.(\d+)")
_MENDED = (2, 2)  # https://github.com/apache/rocketmq-client-cpp/issues/284
_READS_MEMORY = re.compile(r"%[-+ #0']*\d*(\.\d*)?[hlqLjztZ]*[snS]")  # printf(3): what follows a pointer that is none


@dataclass(frozen=True, slots=True)
class Library:
    """The package's modules; nothing in them is annotated."""

    client: Any
    dll: Any
    error: type[Exception]
    reserved: frozenset[str]

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise what the package raises as `BrokerError`: its own errors, and what it does to C strings and enums."""
        try:
            yield
        except (self.error, ctypes.ArgumentError, TypeError, ValueError) as error:
            raise BrokerError(f"RocketMQ: {str(error) or type(error).__name__}") from error

    def refuse_group(self, consumer: Any, group: str, topic: str) -> None:
        """Raise `BrokerError` for a group with which a native consumer may crash the process.

        Up to librocketmq 2.1.0 it takes its line of log about a rebalance for printf's format. The name of the retry
        topic is in it, `%RETRY%` and the group: that of the group `stock` holds a `%s` for which there is no string.
        """
        if self._version(consumer) < _MENDED and _READS_MEMORY.search(f"{topic} %RETRY%{group}"):
            raise BrokerError(
                f"With this librocketmq a consumer of group {group!r} crashes the process: take 2.2.0 or later, or a "
                "prefix in the broker's URL with which names do not begin with s or n, such as ?prefix=a. See "
                "docs/rocketmq4.md."
            )

    def _version(self, consumer: Any) -> tuple[int, int]:
        """Return the native library's version, (0, 0) where it does not tell."""
        show = getattr(self.dll, "ShowPushConsumerVersion", None)
        if show is None:
            return 0, 0
        show.restype, show.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        found = _VERSION.search(show(consumer._handle) or b"")  # noqa: SLF001 - as below
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def switch_trace_off(self, consumer: Any) -> None:
        """Have a native consumer that is not started yet write no message trace.

        librocketmq 2.1.0 writes one unless told not to, and its `ShutdownPushConsumer` then crashes the process. Older
        ones write none and lack the function; the Python package does not know it at all.
        """
        switch = getattr(self.dll, "SetPushConsumerMessageTrace", None)
        if switch is not None:
            switch.argtypes = [ctypes.c_void_p, ctypes.c_int]
            switch(consumer._handle, 0)  # noqa: SLF001 - the package has no other way to its C object


def load(path: str | None) -> Library:
    """Import the package on the native library at `path`, or where the loader finds it. Raise `Misconfigured`.

    A process has one native library: once it is loaded, a later `path` changes nothing.
    """
    try:
        with _library_at(path):
            client, ffi, exceptions, consts = (
                importlib.import_module(f"{_OURS}.{name}") for name in ("client", "ffi", "exceptions", "consts")
            )
    except (ImportError, OSError, AttributeError, NotImplementedError) as error:
        raise Misconfigured(_MISSING.format(reason=error)) from error
    reserved = frozenset(name.value for name in consts.MessageProperty)
    return Library(client, ffi.dll, exceptions.RocketMQException, reserved)


@contextmanager
def _library_at(path: str | None) -> Iterator[None]:
    """Have the package find the native library at `path`: it asks `find_library`, once, as it is imported."""
    found = ctypes.util.find_library

    def find(name: str) -> str | None:
        return path if path is not None and name == _OURS else found(name)

    ctypes.util.find_library = find
    try:
        yield
    finally:
        ctypes.util.find_library = found
