"""Starts a service: `python -m order` calls this first, and this loads the rest, in clearly less time than `import`.

Libraries load others only because these are installed, for the command line or by an extra: structlog loads Rich, for
tracebacks on a terminal; PyJWT loads cryptography, for signatures that ours are not; pybreaker loads Redis (with its
asyncio half, and with OpenTelemetry), to keep its state there. No service uses that.
"""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

_WITHOUT: Final[Mapping[str, str]] = {"structlog": "rich", "jwt": "cryptography", "pybreaker": "redis"}
"""By library: the optional one that it is loaded without. Each library is made to be used so."""


def start(name: str) -> None:
    """Load the service of the package `name`, and run it until it is told to stop: see `common.process.run`."""
    app = load(name)
    import_module("common.process").run(name, app.build)


def load(name: str) -> Any:
    """Return the module `app` of the service of the package `name`.

    Meanwhile the garbage collector is off, and never looks at what was loaded: modules stay as long as the process.
    """
    gc.disable()
    try:
        for library, companion in _WITHOUT.items():
            with _hidden(companion):
                import_module(library)
        return import_module(f"{name}.app")
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Have `import name` fail as if it were not installed, unless it is loaded already.

    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
