"""A folder with one file for each instance, for the processes of one machine: no server is needed.

A file tells until when its instance is listed, by the clock that counts from the machine's start: all processes have
the same one, and it can't be set (clock_gettime(2), CLOCK_MONOTONIC). After a restart of the machine that clock begins
anew, so a time further away than any lease may be is over, too.
"""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final

import orjson

from common.discovery.port import MOST_TTL, DiscoveryUnavailable, Instance, Listing
from common.replacing import replace_file

_LARGEST: Final = 4096  # bytes of a file of ours


class EmbeddedDirectory:
    """Implements `Directory` on a folder."""

    changes: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made with the first instance."""
        self._folder = folder

    def put(self, instance: Instance, ttl: int) -> None:
        """See `Directory`. A reader sees the file before or the file after."""
        told = {"service": instance.service, "url": instance.url, "until": time.monotonic() + ttl}
        try:
            replace_file(self._path(instance), orjson.dumps(told))
        except OSError as error:
            raise self._failed(error) from error

    def withdraw(self, instance: Instance) -> None:
        """See `Directory`."""
        try:
            self._path(instance).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error

    def read(self, services: Collection[str]) -> Listing:
        """See `Directory`. Files of instances that are long gone are removed on the way."""
        found: dict[str, list[str]] = {name: [] for name in services}
        now = time.monotonic()
        for path in self._files():
            told = _read(path)
            if told is None:
                continue
            instance, until = told
            if not now < until <= now + MOST_TTL:
                if abs(now - until) > MOST_TTL:  # no instance renews it any more
                    with suppress(OSError):
                        path.unlink()
            elif instance.service in found:
                found[instance.service].append(instance.url)
        return {name: sorted(urls) for name, urls in found.items()}

    def close(self) -> None:
        """See `Directory`: nothing is open."""

    def _files(self) -> list[Path]:
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - Path.iterdir of Python 3.11 tells some errors late
        except FileNotFoundError:  # no instance was listed yet
            return []
        except OSError as error:
            raise self._failed(error) from error
        return [self._folder / name for name in sorted(names) if name.endswith(".json")]

    def _path(self, instance: Instance) -> Path:
        which = sha256(f"{instance.service} {instance.url}".encode()).hexdigest()[:16]
        return self._folder / f"{instance.service}-{which}.json"

    def _failed(self, error: OSError) -> DiscoveryUnavailable:
        return DiscoveryUnavailable(f"The folder of instances {self._folder} can't be used: {error.strerror}.")


def _read(path: Path) -> tuple[Instance, float] | None:
    """Return what a file says; None for one that is gone meanwhile, or that is none of ours."""
    try:
        with path.open("rb") as file:
            told = orjson.loads(file.read(_LARGEST))
        return Instance(str(told["service"]), str(told["url"])), float(told["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
