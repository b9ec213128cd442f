"""Passwords as hashes: strong, bounded, and as slow for no user as for one."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest

from halfmessage.errors import Overloaded
from user.service import hashing as module
from user.service.hashing import Hashing

PASSWORD = "correct horse battery"


def test_a_hash_is_argon2id_at_owasps_parameters() -> None:
    """m=19456 (19 MiB), t=2, p=1, a salt of its own each time."""
    hashing = Hashing(1, 0)
    first, second = hashing.hash(PASSWORD), hashing.hash(PASSWORD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert hashing.verify(first, PASSWORD)
    assert not hashing.verify(first, PASSWORD + " ")
    assert not hashing.is_outdated(first)
    assert hashing.is_outdated(argon2.PasswordHasher(1, 8, 1).hash(PASSWORD))


def test_a_password_is_the_same_however_it_is_typed() -> None:
    """é as one character or as two; nothing is cut off, whatever its length."""
    hashing = Hashing(1, 0)
    assert hashing.verify(hashing.hash("caf\u00e9 au lait"), "cafe\u0301 au lait")
    assert not hashing.verify(hashing.hash("x" * 255 + "a"), "x" * 255 + "b")


def test_a_password_of_no_user_is_compared_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same parameters, so that it takes as long; never right."""
    hashing = Hashing(1, 0)
    compared: list[str] = []
    verify = hashing._hasher.verify
    monkeypatch.setattr(hashing, "_hasher", _Noting(hashing._hasher, compared, verify))
    assert not hashing.verify(None, PASSWORD)
    assert argon2.extract_parameters(compared[0]) == argon2.extract_parameters(hashing.hash(PASSWORD))


class _Noting:
    def __init__(self, hasher: Any, compared: list[str], verify: Any) -> None:
        self.hash, self._compared, self._verify = hasher.hash, compared, verify

    def verify(self, hashed: str, password: str) -> bool:
        self._compared.append(hashed)
        return bool(self._verify(hashed, password))


@pytest.mark.parametrize("hashed", ["", "x", "$argon2id$v=19$m=19456,t=2,p=1$x", "$2b$12$abc"])
def test_a_hash_that_is_none_is_a_wrong_password(hashed: str) -> None:
    """And no server error."""
    assert not Hashing(1, 0).verify(hashed or "$", PASSWORD)


class _Held:
    """A hasher that holds each password until it is let go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()
        self.most = self._now = 0
        self._guard = threading.Lock()

    def hash(self, _: str) -> str:
        with self._guard:
            self._now += 1
            self.most = max(self.most, self._now)
        self.inside.release()
        assert self.go.wait(20)
        with self._guard:
            self._now -= 1
        return "hash"


def test_so_many_hash_at_once_and_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two with a place, three that wait; the sixth is told at once, and all who waited are served."""
    hashing, held = Hashing(2, 3), _Held()
    monkeypatch.setattr(hashing, "_hasher", held)
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(hashing.hash, PASSWORD) for _ in range(5)]
        for _ in range(2):
            assert held.inside.acquire(timeout=20)
        while hashing._inside < 5:
            pass
        with pytest.raises(Overloaded):
            hashing.hash(PASSWORD)
        held.go.set()
        assert [one.result(20) for one in waiting] == ["hash"] * 5
    assert held.most == 2
    assert hashing.hash(PASSWORD) == "hash"


def test_a_password_waits_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is a 503, and its place is another's."""
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    hashing, held = Hashing(1, 1), _Held()
    monkeypatch.setattr(hashing, "_hasher", held)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hashing.hash, PASSWORD)
        assert held.inside.acquire(timeout=20)
        for _ in range(3):
            with pytest.raises(Overloaded):
                hashing.hash(PASSWORD)
        held.go.set()
        assert first.result(20) == "hash"
