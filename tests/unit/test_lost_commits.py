"""A COMMIT whose answer is lost, though it was done: every call that writes says that its outcome is unknown."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Connection, RootTransaction
from werkzeug.test import TestResponse

from halfmessage.db import EngineTransactor
from halfmessage.errors import CommitOutcomeUnknown
from tests.contract.providers.test_sandbox import SandboxStand
from tests.unit.test_pay_api import ORDER, OWED, TRY, call, called_back, owe, taken
from tests.unit.test_pay_api import Call as PayCall
from tests.unit.test_sandbox_http import KEY, begun
from tests.unit.test_user_http import Site
from tests.users import NAME, PASSWORD

OFTEN: Final = ("1000/hour", "1000/hour", "1000/hour")
NEW: Final = "another " + PASSWORD
UNKNOWN: Final = "/problems/outcome-unknown"

Call = Callable[[], TestResponse]
__all__ = ["call"]  # a fixture


@contextmanager
def losing(monkeypatch: pytest.MonkeyPatch, which: int) -> Iterator[list[int]]:
    """Lose the answer of one COMMIT of this thread, the first or a later one; tell how many there were."""
    commit, numbers, thread = EngineTransactor._commit, list[int](), threading.get_ident()

    def lose(self: EngineTransactor, connection: Connection, transaction: RootTransaction) -> None:
        commit(self, connection, transaction)
        if threading.get_ident() == thread:
            numbers.append(len(numbers) + 1)
            if len(numbers) == which:
                raise CommitOutcomeUnknown

    with monkeypatch.context() as patched:
        patched.setattr(EngineTransactor, "_commit", lose)
        yield numbers


def assert_told(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[int], Call]) -> None:
    """Lose each COMMIT of a call in turn: none is answered with 500, and at least one with 503."""
    told: set[int] = set()
    for which in itertools.count(1):
        call = prepare(which)
        with losing(monkeypatch, which) as numbers:
            answer = call()
        if len(numbers) < which:
            break
        told.add(answer.status_code)
        said = answer.get_json()
        assert answer.status_code < 500 or said["type"] == UNKNOWN, answer.text
    assert 503 in told, told


def _bearer(site: Site) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.log_in(NAME).json['access_token']}"}


def _registering(site: Site) -> Call:
    return lambda: site.register("bob")


def _logging_in(site: Site) -> Call:
    return lambda: site.log_in(NAME)


def _refreshing(site: Site) -> Call:
    tokens = site.log_in(NAME).json
    return lambda: site.post("/tokens/refresh", {"refresh_token": tokens["refresh_token"]})


def _changing(site: Site) -> Call:
    bearer = _bearer(site)
    return lambda: site.post("/users/me/password", {"password": PASSWORD, "new_password": NEW}, **bearer)


def _leaving(site: Site) -> Call:
    bearer = _bearer(site)
    return lambda: site.post("/users/me/delete", {"password": PASSWORD}, **bearer)


def _logging_out(site: Site) -> Call:
    bearer = _bearer(site)
    return lambda: site.client.delete("/tokens/current", headers=bearer)


@pytest.mark.parametrize(
    "prepare", [_registering, _logging_in, _refreshing, _changing, _leaving, _logging_out], ids=lambda one: one.__name__
)
def test_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Site], Call]) -> None:
    """Whichever it is of a call."""
    with closing(_Sites(tmp_path)) as sites:
        assert_told(monkeypatch, lambda _: prepare(sites.new()))


class _Sites:
    """A user service for each try; close them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: list[Site] = []

    def new(self) -> Site:
        directory = self._directory / f"{len(self._made)}"
        directory.mkdir()
        self._made.append(Site(directory, rates=OFTEN))
        self._made[-1].register(NAME)
        return self._made[-1]

    def close(self) -> None:
        for site in self._made:
            site.users.close()


def test_user_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/users.md says: a name is had, by this password; a refresh token was good once, and its log-in ends."""
    with closing(_Sites(tmp_path)) as sites:
        site = sites.new()
        refresh = _refreshing(site)
        with losing(monkeypatch, 1):
            assert refresh().status_code == 503
        assert refresh().status_code == 401
        assert site.log_in(NAME).status_code == 200
        with losing(monkeypatch, 1):
            assert site.register("bob").status_code == 503
        assert site.register("bob").status_code == 409
        assert site.log_in("bob").status_code == 200


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[SandboxStand]:
    stand = SandboxStand(tmp_path)
    yield stand
    stand.close()


def test_sandbox(stand: SandboxStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session, its end, a refund."""

    def session(which: int) -> Call:
        body: dict[str, Any] = {"attempt_id": str(which), "payment_id": "5", "amount": 1250, "currency": "EUR"}
        body |= {"callback_url": "http://127.0.0.1:1", "expires_at": "2026-12-01T00:00:00Z", "scenario": "card"}
        return lambda: stand.client.post("/sessions", json=body, headers=KEY)

    def closed(which: int) -> Call:
        reference = begun(stand, attempt_id=str(100 + which))["reference"]
        return lambda: stand.client.post(f"/sessions/{reference}/close", headers=KEY)

    def refund(which: int) -> Call:
        charge = begun(stand, attempt_id=str(200 + which), scenario="card")["charges"][0]["charge_id"]
        body = {"key": f"k{which}", "amount": 1250, "currency": "EUR"}
        return lambda: stand.client.post(f"/charges/{charge}/refunds", json=body, headers=KEY)

    for prepare in (session, closed, refund):
        assert_told(monkeypatch, prepare)


def test_pay(call: PayCall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reservation, its end, a try, what a provider calls back, money that is sent back."""

    def owed(which: int) -> str:
        order_id = str(ORDER + (next(numbers) << 12) + which)
        answer = call("POST", "/reservations", {"tx_id": "77", "orders": [{"order_id": order_id, **OWED}]})
        assert answer.status_code == 200
        return order_id

    def paid(which: int) -> str:
        order_id = owed(which)
        assert call("POST", f"/payments/{order_id}/attempts", TRY).json["status"] == "succeeded"
        return order_id

    def reservation(which: int) -> Call:
        order = {"order_id": str(ORDER + which), **OWED}
        return lambda: call("POST", "/reservations", {"tx_id": "77", "orders": [order]})

    def settled(which: int) -> Call:
        order = {"order_id": owed(which), "tx_id": "77", "fate": "void"}
        return lambda: call("POST", "/reservations/settle", {"orders": [order]})

    def attempt(which: int) -> Call:
        path = f"/payments/{owed(which)}/attempts"
        return lambda: call("POST", path, TRY)

    def callback(which: int) -> Call:
        said = taken(f"c{which}00", int(owed(which)))
        return lambda: called_back(call, said)

    def refund(which: int) -> Call:
        path = f"/payments/{paid(which)}/refund"
        keyed = {"Idempotency-Key": f"k{which}"}
        return lambda: call("POST", path, {"reason": "broken"}, as_="admin", headers=keyed)

    numbers = itertools.count(1)
    for prepare in (reservation, settled, attempt, callback, refund):
        assert_told(monkeypatch, prepare)


def test_pay_sends_back_once_for_a_key(call: PayCall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer that was lost comes again, under its key."""
    owe(call)
    call("POST", f"/payments/{ORDER}/attempts", TRY)
    keyed, body = {"Idempotency-Key": "k"}, {"reason": "broken"}
    with losing(monkeypatch, 1):
        assert call("POST", f"/payments/{ORDER}/refund", body, as_="admin", headers=keyed).status_code == 503
    again = call("POST", f"/payments/{ORDER}/refund", body, as_="admin", headers=keyed)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
