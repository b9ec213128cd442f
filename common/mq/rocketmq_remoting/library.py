"""Finds Apache's `rocketmq` package of 2019 and the native library under it, when somebody asks for them.

It is imported by name because two packages install a top-level `rocketmq`, and a type checker can know only one.
"""

import ctypes
import ctypes.util
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.errors import BrokerError, OrdersError

_MISSING = (
    "rocketmq4:// does not work here ({reason}). It needs pip install '.[rocketmq4]', and a librocketmq 2.x built "
    "from https://github.com/apache/rocketmq-client-cpp/releases where the loader finds it, or named in the URL: "
    "rocketmq4://host:9876?library=/usr/local/lib/librocketmq.so. That package and the gRPC client "
    "(rocketmq-python-client) both install 'rocketmq': an environment holds only one of them. See docs/rocketmq4.md."
)
_OURS = "rocketmq"


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
    """Import the package on the native library at `path`, or where the loader finds it. Raise `OrdersError`.

    A process has one native library: once it is loaded, a later `path` changes nothing.
    """
    try:
        with _library_at(path):
            client, ffi, exceptions, consts = (
                importlib.import_module(f"{_OURS}.{name}") for name in ("client", "ffi", "exceptions", "consts")
            )
    except (ImportError, OSError, AttributeError, NotImplementedError) as error:
        raise OrdersError(_MISSING.format(reason=error)) from error
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
