"""Streams of events: what changes is told, and they hold no more threads, and for no longer, than is allowed."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from common.web import streams
from common.web.problems import OverLimit
from common.web.requests import prefers_async, wants_events
from common.web.streams import Streams
from halfmessage.errors import DatabaseUnavailable, Overloaded


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LOOK_EVERY", 0.001)


def _streams(most: int = 4, *, lasts: float = 30.0, ending: threading.Event | None = None) -> Streams:
    return Streams(most, lasts=lasts, ending=ending or threading.Event())


def _looks(*told: tuple[dict[str, Any], bool]) -> Any:
    left = list(told)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_changes_are_told_until_the_last() -> None:
    """Each once, however often it is looked at."""
    look = _looks(({"n": 1}, False), ({"n": 1}, False), ({"n": 2}, False), ({"n": 3}, True))
    assert list(_streams().open("ann", look)) == [
        b"retry: 1000\n\n",
        b'data: {"n":1}\n\n',
        b'data: {"n":2}\n\n',
        b'data: {"n":3}\n\n',
    ]


def test_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that has nothing new to tell says so now and then: or a client that left would not be noticed."""
    monkeypatch.setattr(streams, "_SIGN_OF_LIFE_EVERY", 0.0)
    stream = _streams().open("ann", lambda: ({}, False))
    assert [next(stream) for _ in range(4)] == [b"retry: 1000\n\n", b"data: {}\n\n", *[b": waiting\n\n"] * 2]


def test_a_stream_lasts_so_long() -> None:
    """It ends though nothing is decided; the client asks again."""
    assert list(_streams(lasts=0.05).open("ann", lambda: ({}, False))) == [b"retry: 1000\n\n", b"data: {}\n\n"]


def test_a_service_that_is_told_to_stop_waits_for_no_stream() -> None:
    """Nor for what would come."""
    ending = threading.Event()
    stream = _streams(ending=ending).open("ann", lambda: ({}, False))
    assert [next(stream), next(stream)] == [b"retry: 1000\n\n", b"data: {}\n\n"]
    ending.set()
    assert list(stream) == []


def test_what_fails_ends_a_stream() -> None:
    """The answer has begun: it can't be made a problem any more."""

    def look() -> tuple[dict[str, Any], bool]:
        raise DatabaseUnavailable

    assert list(_streams().open("ann", look)) == [b"retry: 1000\n\n"]


def test_so_many_at_once() -> None:
    """Of all users, and a quarter of them one user's; a place is free again when a stream ends, or no user has it."""
    places = _streams(8)

    def of(user: str) -> Iterator[bytes]:
        return places.open(user, lambda: ({}, True))

    one, two = of("ann"), of("ann")
    with pytest.raises(OverLimit):
        of("ann")
    list(one)
    three = of("ann")
    del two
    four = of("ann")
    others = [of(user) for user in ("bob", "bob", "cid", "cid", "dan", "dan")]
    with pytest.raises(Overloaded):
        of("eve")
    others[0].close()  # type: ignore[attr-defined]
    others[0].close()  # type: ignore[attr-defined]
    assert of("eve")
    del three, four


def test_a_stream_that_breaks_gives_its_place_back() -> None:
    """Whatever it was."""
    places = _streams(1)

    def look() -> tuple[dict[str, Any], bool]:
        raise ZeroDivisionError

    broken = places.open("ann", look)
    next(broken)
    with pytest.raises(ZeroDivisionError):
        next(broken)
    assert places.open("ann", look)


def _request(method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(EnvironBuilder(method=method, headers=named).get_environ())


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("respond-async", True),
        ("wait=10, Respond-Async", True),
        ("respond-async; foo=bar", True),
        ("return=minimal", False),
        ('x="a, respond-async, b"', False),
        ('x="\\", respond-async", y', False),
        ('x="a, respond-async', False),
        ('"' + '\\"' * 2000 + ", respond-async", False),
        ("respond-asynchronously", False),
        ("", False),
    ],
)
def test_prefer(said: str, meant: bool) -> None:
    """RFC 7240: preferences have commas between, in any case; what is not known is ignored."""
    assert prefers_async(_request(Prefer=said)) is meant
    assert not prefers_async(_request())


@pytest.mark.parametrize(
    ("accept", "events"),
    [
        ("text/event-stream", True),
        ("text/event-stream, application/json;q=0.5", True),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/event-stream;q=0.5", False),
        ("image/png", False),
    ],
)
def test_accept(accept: str, events: bool) -> None:
    """Events for those who ask for them alone, or rather; JSON for all others."""
    assert wants_events(_request(Accept=accept)) is events
    assert not wants_events(_request("HEAD", Accept=accept))
    assert not wants_events(_request())
