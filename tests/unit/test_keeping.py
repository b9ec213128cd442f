"""A handler that gets on keeps its messages; one that can't be kept is no fault of the handler."""

import pytest

from halfmessage.errors import BrokerError, CommitOutcomeUnknown, DatabaseUnavailable, HalfMessageError
from halfmessage.mq import keeping
from halfmessage.mq.keeping import Keeper


def test_extended_when_enough_of_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls cost nothing until a third of the invisible time is over; each extension begins it anew."""
    now, extended = [100.0], []
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])
    keep = Keeper("t", 3.0, lambda: extended.append(now[0]))
    for now[0] in (100.0, 100.9, 101.1, 101.2, 102.0, 102.2, 109.0, 109.5):
        keep()
    assert extended == [101.1, 102.2, 109.0]


@pytest.mark.parametrize("error", [BrokerError, DatabaseUnavailable, CommitOutcomeUnknown])
def test_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch, error: type[HalfMessageError]) -> None:
    """What can't be extended may come twice, as after a crash: the work goes on, and it is tried again later."""
    now, tried = [0.0], []
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])

    def away() -> None:
        tried.append(now[0])
        raise error

    keep = Keeper("t", 3.0, away)
    for now[0] in (1.5, 1.6, 3.0):
        keep()
    assert tried == [1.5, 3.0]
