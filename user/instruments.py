"""What Prometheus gets of log-ins, and of the keys that sign their tokens."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from prometheus_client import Counter

from common.errors import TooManyRequests
from common.telemetry import Metrics
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from user.model import LogInDelayed, WrongPassword, WrongRefreshToken
from user.service.keys import SigningKeys


class Became(StrEnum):
    """What became of a log-in, or a refresh."""

    OK = "ok"
    WRONG = "wrong"
    DELAYED = "delayed"
    """It came before the delay after wrong passwords was over, and was not looked at."""
    LIMITED = "limited"
    """Its address, or its name, was tried too often."""
    REUSED = "reused"
    """A refresh token came twice, and its log-in was ended."""
    FAILED = "failed"


_BY_ERROR: Final[Mapping[type[HalfMessageError], Became]] = {
    LogInDelayed: Became.DELAYED,
    TooManyRequests: Became.LIMITED,
    WrongPassword: Became.WRONG,
    WrongRefreshToken: Became.WRONG,
}


class Instruments:
    """Counts."""

    def __init__(self, metrics: Metrics, keys: SigningKeys) -> None:
        """Make the metrics; each outcome begins at 0, or the first one would be no increase."""
        self._log_ins = metrics.counter("log_ins", "Log-ins by what became of them", "outcome")
        self._refreshes = metrics.counter("refreshes", "Refreshes of log-ins by what became of them", "outcome")
        for became in Became:
            self._refreshes.labels(became.value)
            self._log_ins.labels(became.value)

        def look() -> Mapping[str, float]:
            signs = keys.signer()
            age = max(0.0, (now_ms() - signs.signs_from) / 1000)
            return {"signing_key_age_seconds": age, "signing_keys_published": len(keys.published())}

        metrics.observe_all("Keys that sign users' tokens", look)

    @contextmanager
    def log_in(self) -> Iterator[None]:
        """Count what the block does."""
        with _counted(self._log_ins):
            yield

    @contextmanager
    def refresh(self) -> Iterator[None]:
        """Count what the block does."""
        with _counted(self._refreshes):
            yield


@contextmanager
def _counted(counter: Counter) -> Iterator[None]:
    try:
        yield
    except HalfMessageError as error:
        reused = isinstance(error, WrongRefreshToken) and error.reused
        known = (became for kind, became in _BY_ERROR.items() if isinstance(error, kind))
        counter.labels((Became.REUSED if reused else next(known, Became.FAILED)).value).inc()
        raise
    counter.labels(Became.OK.value).inc()
