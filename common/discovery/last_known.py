"""The list that was known last, in a file: a process that starts while discovery is down begins with it."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import orjson
import structlog

from common.discovery.port import MOST_INSTANCES, Listing
from common.replacing import replace_file

_LARGEST: Final = 1024 * 1024  # bytes

log = structlog.get_logger()


class LastKnown:
    """Keeps a list in a file, if there is one to keep it in."""

    def __init__(self, path: Path | None) -> None:
        """Name the file; None: nothing is kept."""
        self._path = path

    def load(self, services: Collection[str]) -> Listing:
        """Return the list of these services; empty where there is none that can be read."""
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                told = orjson.loads(file.read(_LARGEST))
            return {name: [str(url) for url in told[name][:MOST_INSTANCES]] for name in services if told.get(name)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("the last known list of instances can't be read", file=str(self._path), reason=str(error))
            return {}

    def save(self, listing: Listing) -> None:
        """Replace the file; where that fails, the one before stays, and the log says so."""
        if self._path is None:
            return
        try:
            replace_file(self._path, orjson.dumps({name: list(urls) for name, urls in listing.items()}))
        except OSError as error:
            log.warning("the list of instances is not kept", file=str(self._path), reason=str(error))
