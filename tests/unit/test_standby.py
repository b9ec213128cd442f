"""Consumers that wait for what their handler needs."""

from common.standby import Standby
from halfmessage.errors import DatabaseUnavailable, LeaseLost


def test_the_probe_is_asked_only_after_a_failure() -> None:
    """A consumer of which nothing has failed is ready; else once what it needs answers, and is not asked again."""
    answers: list[Exception | None] = [DatabaseUnavailable(), DatabaseUnavailable(), None]

    def probe() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    standby = Standby(probe)
    assert standby.ready()
    assert len(answers) == 3
    standby.suspect()
    assert [standby.ready(), standby.ready(), standby.ready(), standby.ready()] == [False, False, True, True]
    assert not answers


def test_all_that_it_needs_must_answer() -> None:
    """One that does not keeps it from taking messages."""
    refusals: list[Exception] = [LeaseLost()]

    def fails_once() -> None:
        if refusals:
            raise refusals.pop()

    standby = Standby(lambda: None, fails_once)
    standby.suspect()
    assert [standby.ready(), standby.ready()] == [False, True]
