"""Asking several at once, each for a bounded time: who does not answer is silent, and is not asked again meanwhile."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

import structlog

from halfmessage.errors import HalfMessageError

MOST_AT_ONCE: Final = 32  # threads; further ones wait for a free one, within the same time

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Silent:
    """What could not be learnt, and why: shown as that, never as a number."""

    why: str


class Looks:
    """Asks sources by name. Used by one thread at a time."""

    def __init__(self, *, within: float) -> None:
        """Wait for `within` seconds for all of them together."""
        self._within = within
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="looking")
        self._running: dict[str, Future[Any]] = {}

    def at(self, sources: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Return what each source says, or that it is `Silent`. A question not answered yet is not asked twice."""
        asked = {name: self._begin(name, source) for name, source in sources.items() if not self._is_hanging(name)}
        wait(asked.values(), timeout=self._within)
        return {name: self._heard(name, asked.get(name)) for name in sources}

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is_hanging(self, name: str) -> bool:
        before = self._running.get(name)
        return before is not None and not before.done()

    def _begin(self, name: str, source: Callable[[], Any]) -> Future[Any]:
        self._running[name] = begun = self._pool.submit(source)
        return begun

    def _heard(self, name: str, asked: Future[Any] | None) -> Any:
        if asked is None or not asked.done():
            return Silent(f"no answer within {self._within:g} s")
        try:
            return asked.result()
        except HalfMessageError as error:
            return Silent(error.detail)
        except Exception:  # a thread's edge: a fault of ours, which must not hide what the others say
            log.exception("looking failed", source=name)
            return Silent("a fault of the console itself, which its log tells")
