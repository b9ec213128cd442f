"""The package `rocketmq-client-python` on a native library of our own: compiled here, loaded beside whatever is there.

The package can't live in the environment of the tests, which has the gRPC client: both own the name `rocketmq`. So it
is installed into pytest's cache once, and a test sees it under that name only while it runs.
"""

import ctypes
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from halfmessage.mq.rocketmq_remoting.library import load

SOURCE = Path(__file__).with_name("standin.c")
_PACKAGE = "rocketmq-client-python"
_SETTINGS = Path(__file__).parents[2] / "setup.cfg"


def installed(cache: Path) -> Path:
    """Return the directory that the package is in, this environment's or one in `cache`; skip the test without it."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return Path(str(importlib.metadata.distribution(_PACKAGE).locate_file("")))
    settings = ConfigParser()
    settings.read(_SETTINGS)
    wanted = settings["options.extras_require"]["rocketmq4"].strip()
    target = cache / wanted
    if not target.is_dir():
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unfinished), wanted]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode:
            missing(f"{wanted} can't be installed: {done.stderr[-500:]}")
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    return target


def compiled(directory: Path) -> Path:
    """Compile the stand-in; skip the test without a compiler."""
    if shutil.which("gcc") is None:
        missing("gcc is not installed")
    library = directory / "librocketmq.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library


def missing(what: str) -> NoReturn:
    """Skip the test on a laptop, fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


class Package:
    """The package's modules on one native library."""

    def __init__(self, directory: Path, library: Path) -> None:
        self.directory = directory
        self.library = library
        self._modules: dict[str, ModuleType] = {}

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Have `import rocketmq` find this package, and nothing of another one that has the name."""
        others = _taken_out()
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self.directory))
        try:
            load(str(self.library))
            yield
        finally:
            sys.path.remove(str(self.directory))
            self._modules = _taken_out()
            sys.modules.update(others)


def _taken_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == "rocketmq" or name.startswith("rocketmq.")]
    return {name: sys.modules.pop(name) for name in names}


class Standin:
    """What the tests may ask of the stand-in, see `standin.c`."""

    LOCAL_EXECUTE, CHECK, CONSUME = range(3)

    def __init__(self, library: Path) -> None:
        self.dll: Any = ctypes.CDLL(str(library))
        self.dll.standin_crimes.restype = ctypes.c_char_p
        self.dll.standin_foreign_half.argtypes = [ctypes.c_char_p] * 3

    def play(self, *, status: int = 0, error: bool = False, start: bool = False, resolve: bool = False,
             skip: bool = False) -> None:  # fmt: skip
        """Answer sends with a status, fail sends, starts or resolutions, or skip the local execute."""
        self.dll.standin_break(status, error, start, resolve, skip)

    def be(self, version: str) -> None:
        """Be that version of the library."""
        self.dll.standin_be(version.encode())

    def returned(self, kind: int) -> list[int]:
        """Return what the callbacks of a kind returned, in order."""
        return self._until(lambda place: int(self.dll.standin_returned(kind, place)))

    @property
    def levels(self) -> list[int]:
        return self._until(lambda place: int(self.dll.standin_level(place)))

    @property
    def crimes(self) -> str:
        return str(self.dll.standin_crimes().decode())

    @staticmethod
    def _until(read: Any) -> list[int]:
        found: list[int] = []
        while (value := read(len(found))) != -9:
            found.append(value)
        return found
