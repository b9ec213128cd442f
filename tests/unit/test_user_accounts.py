"""Registering, logging in, delays, changing and deleting: what a user gets, and what a guesser does not."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, insert
from sqlalchemy.dialects import mysql

from common.auth import Identity, Verifier
from common.errors import OrdersError
from halfmessage.chunks import VALUES
from halfmessage.errors import NotFound, Overloaded
from tests.users import ADDRESS, NAME, PASSWORD, CheapHashing, Users
from user.model import (
    BreachedPassword,
    LogInDelayed,
    NameTaken,
    NotTheirPassword,
    WrongPassword,
    WrongRefreshToken,
    attempts,
    log_ins,
    sessions,
    users,
)
from user.service.attempts import FREE, LONGEST, delay_after
from user.service.audit import Audit
from user.service.breached import Breached
from user.service.sessions import MOST

ELSEWHERE = "198.51.100.7"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Users]:
    made = Users(tmp_path)
    yield made
    made.close()


@pytest.fixture
def alice(world: Users) -> int:
    return world.accounts.register(NAME, PASSWORD).user_id


def wrong(world: Users, name: str = NAME, address: str = ADDRESS, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword):
            world.accounts.log_in(name, "not the password", address)


def test_a_registered_user_logs_in(world: Users, alice: int) -> None:
    """The token names the user by an id that is never another's, with the scope of users and the log-in."""
    tokens = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    (session,) = world.all(sessions)
    seen = Verifier(None, world.keys).verify(f"Bearer {tokens.access_token}")
    assert seen == Identity(str(alice), frozenset({"orders"}), str(session["session_id"]))
    assert tokens.expires_in == 900


def test_an_admin_is_made_as_one(world: Users) -> None:
    """Never by registering over REST, which has no such field."""
    world.accounts.register("root", PASSWORD, is_admin=True)
    tokens = world.accounts.log_in("root", PASSWORD, ADDRESS)
    assert Verifier("s" * 32, world.keys).verify(f"Bearer {tokens.access_token}").scopes == {"admin", "orders"}


def test_a_name_is_had_once(world: Users, alice: int) -> None:
    """Also by threads that register it at once."""
    with pytest.raises(NameTaken):
        world.accounts.register(NAME, PASSWORD)

    def register() -> bool:
        try:
            world.accounts.register("bob", PASSWORD)
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert [one.result() for one in [pool.submit(register) for _ in range(8)]].count(True) == 1
    assert world.rows(users) == 2
    assert alice


def test_nothing_that_is_kept_is_a_password_or_a_token(world: Users, alice: int) -> None:
    """Refresh tokens as hashes; a reader of the database can't refresh."""
    tokens = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    kept = repr([world.all(table) for table in (sessions, log_ins, attempts)])
    for half in tokens.refresh_token.split("."):
        assert half not in kept
        assert half not in repr(tokens)
    assert alice


def test_a_wrong_password_and_an_unknown_name_cost_the_same(world: Users, alice: int) -> None:
    """The same statements, in the same order, one comparison each: nothing tells whether a name is a user's."""
    said: list[str] = []
    event.listen(world.database.engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    wrong(world, NAME)
    known, said[:] = said.copy(), []
    wrong(world, "nobody")
    assert said == known
    hashing = world.hashing
    assert isinstance(hashing, CheapHashing)
    assert hashing.compared == [True, False]
    assert alice


@pytest.mark.parametrize("name", [NAME, "nobody"])
def test_wrong_passwords_make_the_next_wait(world: Users, alice: int, name: str) -> None:
    """The first few do not; then longer and longer, for names that are no user's as well."""
    wrong(world, name, times=FREE)
    waited = []
    for _ in range(12):
        wrong(world, name)
        with pytest.raises(LogInDelayed) as delayed:
            world.accounts.log_in(name, PASSWORD, ADDRESS)
        waited.append(delayed.value.retry_after)
        world.go_on(delayed.value.retry_after)
    assert waited == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, LONGEST, LONGEST]
    assert alice


def test_delays_are_bounded() -> None:
    """However many there were."""
    assert [delay_after(n) for n in (0, FREE, FREE + 1, 10**9)] == [0, 0, 1, LONGEST]


def test_no_user_is_locked_out(world: Users, alice: int) -> None:
    """A right password is taken as soon as the delay is over; what comes too early delays nothing further."""
    wrong(world, times=FREE + 1)
    world.go_on(1)
    wrong(world)
    for _ in range(20):
        with pytest.raises(LogInDelayed):
            world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    world.go_on(2)
    assert world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert world.rows(attempts) == 0
    wrong(world, times=FREE)
    assert alice


def test_a_stranger_can_not_keep_a_user_waiting(world: Users, alice: int) -> None:
    """Where the user has logged in from before, the tries of others do not count."""
    world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    wrong(world, address=ELSEWHERE, times=FREE + 1)
    with pytest.raises(LogInDelayed):
        world.accounts.log_in(NAME, PASSWORD, ELSEWHERE)
    assert world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    wrong(world, times=FREE + 1)
    with pytest.raises(LogInDelayed):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert alice


def test_many_at_once_get_no_more_tries_than_one_after_the_other(world: Users, alice: int) -> None:
    """A try is counted before its password is looked at."""

    def guess() -> bool:
        try:
            world.accounts.log_in(NAME, "a guess of many", ADDRESS)
        except WrongPassword:
            return True
        except LogInDelayed:
            return False
        raise AssertionError

    with ThreadPoolExecutor(6) as pool:
        looked_at = [one.result() for one in [pool.submit(guess) for _ in range(12)]]
    assert looked_at.count(True) == FREE + 1
    assert alice


def test_a_password_that_was_not_looked_at_does_not_count(
    world: Users, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too many hash at once, it is a 503, and no try."""

    def full(*_: object) -> bool:
        raise Overloaded

    with monkeypatch.context() as patch:
        patch.setattr(world.hashing, "verify", full)
        for _ in range(3 * FREE):
            with pytest.raises(Overloaded):
                world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert alice


def test_log_ins_are_written_down_and_purged(world: Users, alice: int) -> None:
    """By user and name, from where, and what became of it; for so long, and so many of them."""
    world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    wrong(world, NAME, ELSEWHERE)
    wrong(world, "nobody", ELSEWHERE)
    told = [(row["user_id"], row["name"], row["address"], row["outcome"]) for row in world.all(log_ins)]
    assert told == [
        (alice, NAME, ADDRESS, "ok"), (alice, NAME, ELSEWHERE, "wrong"), (None, "nobody", ELSEWHERE, "wrong")
    ]  # fmt: skip
    assert world.audit.purge() == 0
    few = Audit(world.database, world.accounts._parts.ids, kept=3600, most=1)
    assert few.purge() == 2
    assert [row["name"] for row in world.all(log_ins)] == ["nobody"]
    old = Audit(world.database, world.accounts._parts.ids, kept=-1)
    assert old.purge() == 1


def test_tries_are_forgotten_after_a_day(world: Users, alice: int) -> None:
    """Counted anew, and their rows go."""
    wrong(world, times=FREE)
    world.go_on(25 * 3600)
    wrong(world, times=FREE)
    assert world.attempts.purge() == 0
    world.go_on(25 * 3600)
    assert world.attempts.purge() == 1
    assert alice


def test_a_refresh_token_is_good_once(world: Users, alice: int) -> None:
    """Each gives the next; the one before, again, ends all of its family, and is written down."""
    first = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    second = world.sessions.refresh(first.refresh_token, ADDRESS)
    third = world.sessions.refresh(second.refresh_token, ADDRESS)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(first.refresh_token, ELSEWHERE)
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(third.refresh_token, ADDRESS)
    assert world.rows(sessions) == 0
    assert [(row["user_id"], row["address"], row["outcome"]) for row in world.all(log_ins)][1:] == [
        (alice, ELSEWHERE, "reused")
    ]


def test_other_log_ins_outlive_the_end_of_one(world: Users, alice: int) -> None:
    """A family is one log-in's."""
    stolen, other = (world.accounts.log_in(NAME, PASSWORD, ADDRESS) for _ in range(2))
    world.sessions.refresh(stolen.refresh_token, ADDRESS)
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(stolen.refresh_token, ADDRESS)
    assert world.sessions.refresh(other.refresh_token, ADDRESS)
    assert alice


def test_of_threads_with_the_same_refresh_token_at_most_one_wins(world: Users, alice: int) -> None:
    """One compare-and-set decides; the others end the family, so what the one got is good no more either."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    gate = threading.Barrier(8)

    def refresh() -> str | None:
        gate.wait()
        try:
            return world.sessions.refresh(token, ADDRESS).refresh_token
        except WrongRefreshToken:
            return None

    with ThreadPoolExecutor(8) as pool:
        got = [one.result() for one in [pool.submit(refresh) for _ in range(8)]]
    won = [one for one in got if one is not None]
    assert len(won) == 1
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(won[0], ADDRESS)
    assert world.rows(sessions) == 0
    assert alice


@pytest.mark.parametrize("forged", ["", ".", "a.b", "a" * 256, "ü.ü"])
def test_what_is_no_refresh_token_ends_nothing(world: Users, alice: int, forged: str) -> None:
    """No caller ends a log-in without having had a token of it."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    for one in (forged, f"{forged}.{token.partition('.')[2]}"):
        with pytest.raises(WrongRefreshToken):
            world.sessions.refresh(one, ADDRESS)
    assert world.sessions.refresh(token, ADDRESS)
    assert alice


def test_a_log_in_ends_however_often_it_is_refreshed(world: Users, alice: int) -> None:
    """And its row is purged."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    world.go_on(86_000)
    token = world.sessions.refresh(token, ADDRESS).refresh_token
    assert world.sessions.purge() == 0
    world.go_on(401)
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(token, ADDRESS)
    assert world.sessions.purge() == 0  # gone already
    assert alice


def test_log_ins_that_are_over_are_purged(world: Users, alice: int) -> None:
    """And no others."""
    world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    world.go_on(50_000)
    world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    world.go_on(40_000)
    assert world.sessions.purge() == 1
    assert world.rows(sessions) == 1
    assert alice


def test_a_user_has_so_many_log_ins_at_once(world: Users, alice: int) -> None:
    """One more ends the oldest."""
    first = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    second = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    for _ in range(MOST - 1):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert world.rows(sessions) == MOST
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(first.refresh_token, ADDRESS)
    assert world.sessions.refresh(second.refresh_token, ADDRESS)
    assert alice


def test_a_log_out_ends_that_log_in(world: Users, alice: int) -> None:
    """Again: nothing."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    (session,) = world.all(sessions)
    for _ in range(2):
        world.sessions.end(session["session_id"])
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(token, ADDRESS)
    assert alice


def test_a_changed_password_ends_the_other_log_ins(world: Users, alice: int) -> None:
    """The old one is wrong from then on, the log-in that changed it goes on."""
    mine, other = (world.accounts.log_in(NAME, PASSWORD, ADDRESS) for _ in range(2))
    session = min(row["session_id"] for row in world.all(sessions))
    changed = world.accounts.change_password(alice, PASSWORD, "another long password", ADDRESS, session)
    assert changed.password_changed_at >= changed.created_at
    with pytest.raises(WrongPassword):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert world.accounts.log_in(NAME, "another long password", ADDRESS)
    assert world.sessions.refresh(mine.refresh_token, ADDRESS)
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(other.refresh_token, ADDRESS)


def test_a_right_password_is_no_wrong_try_though_the_new_one_is_refused(
    world: Users, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: what is wrong with the new one, or that too many hash at once, says nothing of a guesser."""

    def full(_: str) -> str:
        raise Overloaded

    for _ in range(2 * FREE):
        with pytest.raises(BreachedPassword):
            world.accounts.change_password(alice, PASSWORD, NAME, ADDRESS, None)
    with monkeypatch.context() as patch:
        patch.setattr(world.hashing, "hash", full)
        for _ in range(2 * FREE):
            with pytest.raises(Overloaded):
                world.accounts.change_password(alice, PASSWORD, "another long password", ADDRESS, None)
    assert world.accounts.change_password(alice, PASSWORD, "another long password", ADDRESS, None)


def test_a_log_in_waits_for_a_change_of_its_password(world: Users, alice: int) -> None:
    """It locks the user's row, or on MySQL it would begin with the old password after all log-ins were ended."""
    said: list[str] = []

    def note(_: Any, statement: Any, *__: Any) -> None:
        said.append(str(statement.compile(dialect=mysql.dialect())))

    event.listen(world.database.engine, "before_execute", note)
    world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    (locks,) = [number for number, one in enumerate(said) if "FROM users" in one and one.endswith("FOR UPDATE")]
    (begins,) = [number for number, one in enumerate(said) if one.startswith("INSERT INTO sessions")]
    assert locks < begins
    assert alice


def test_a_log_in_whose_user_is_gone_is_not_refreshed(world: Users, alice: int) -> None:
    """As one that is over."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    world.database.transact(lambda connection: connection.execute(delete(users).where(users.c.user_id == alice)))
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(token, ADDRESS)


CHANGES: dict[str, Callable[[Users, int, str], object]] = {
    "change": lambda world, user, given: world.accounts.change_password(user, given, "another long one", ADDRESS, None),
    "remove": lambda world, user, given: world.accounts.remove(user, given, ADDRESS),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stolen_token_is_not_enough(world: Users, alice: int, change: Callable[[Users, int, str], object]) -> None:
    """What ends an account or takes it over needs the password, and guesses at it wait as others do."""
    for _ in range(FREE + 1):
        with pytest.raises(NotTheirPassword):
            change(world, alice, "not the password")
    with pytest.raises(LogInDelayed):
        change(world, alice, PASSWORD)
    world.go_on(1)
    change(world, alice, PASSWORD)


def test_a_deleted_user_is_gone(world: Users, alice: int) -> None:
    """With log-ins and what was kept of these; the one who takes the name later is another user."""
    token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).refresh_token
    world.accounts.remove(alice, PASSWORD, ADDRESS)
    assert [world.rows(table) for table in (users, sessions, log_ins, attempts)] == [0, 0, 0, 0]
    with pytest.raises(WrongRefreshToken):
        world.sessions.refresh(token, ADDRESS)
    with pytest.raises(WrongPassword):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    with pytest.raises(NotFound):
        world.accounts.get(alice)
    assert world.accounts.register(NAME, PASSWORD).user_id != alice


def test_a_user_who_logged_in_for_years_is_deleted_by_short_transactions(world: Users, alice: int) -> None:
    """No statement deletes more rows than one transaction may change."""
    row = {"user_id": alice, "name": NAME, "address": ADDRESS, "outcome": "ok", "at": 1}
    rows = [row | {"log_in_id": number} for number in range(1, 3 * VALUES)]
    rows.append(row | {"log_in_id": 3 * VALUES, "user_id": alice + 1})
    world.database.transact(lambda connection: connection.execute(insert(log_ins), rows))
    deleted: list[int] = []

    def count(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.startswith("DELETE FROM log_ins"):
            deleted.append(cursor.rowcount)

    event.listen(world.database.engine, "after_cursor_execute", count)
    world.accounts.remove(alice, PASSWORD, ADDRESS)
    assert sum(deleted) == 3 * VALUES - 1
    assert max(deleted) <= VALUES
    assert [one["user_id"] for one in world.all(log_ins)] == [alice + 1]


def test_known_passwords_are_refused(tmp_path: Path) -> None:
    """Those of the list, and the name; a list that is gone later refuses nothing."""
    listed = tmp_path / "breached.txt"
    listed.write_bytes(sorted_hashes("password1234", "qwertyuiop"))
    world = Users(tmp_path, breached=listed)
    for password in ("password1234", "qwertyuiop", "Alice"):
        with pytest.raises(BreachedPassword):
            world.accounts.register(NAME, password)
    user = world.accounts.register(NAME, PASSWORD)
    with pytest.raises(BreachedPassword):
        world.accounts.change_password(user.user_id, PASSWORD, "password1234", ADDRESS, None)
    listed.unlink()
    assert world.accounts.register("bob", "password1234")
    world.close()


def sorted_hashes(*passwords: str, end: str = ":7\r\n") -> bytes:
    digests = sorted(hashlib.sha1(one.encode(), usedforsecurity=False).hexdigest().upper() for one in passwords)
    return "".join(f"{digest}{end}" for digest in digests).encode()


@pytest.mark.parametrize("end", [":7\r\n", "\n", ":123456789\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_each_password_of_a_list_is_found_and_no_other(tmp_path: Path, end: str, size: int) -> None:
    """By halving the file, whatever its lines end with: the first, the last and those between."""
    listed = tmp_path / "breached.txt"
    listed.write_bytes(sorted_hashes(*(f"known {i}" for i in range(size)), end=end))
    breached = Breached(listed)
    assert all(breached.has(f"known {i}") for i in range(size))
    assert not any(breached.has(f"other {i}") for i in range(50))


@pytest.mark.parametrize("content", [None, b"", b"password1234\n", b"\xff" * 500])
def test_what_is_no_list_is_refused_at_start(tmp_path: Path, content: bytes | None) -> None:
    """Rather than letting every password pass."""
    listed = tmp_path / "breached.txt"
    if content is not None:
        listed.write_bytes(content)
    with pytest.raises(OrdersError, match="ORDERS_BREACHED_PASSWORDS"):
        Breached(listed)


@pytest.mark.usefixtures("alice")
def test_a_clock_that_is_set_back_delays_no_log_in(world: Users) -> None:
    """A delay of seconds is not one of an hour; and the tries that were counted are, so the next one waits again."""
    wrong(world, times=FREE + 1)
    with pytest.raises(LogInDelayed):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    world.go_on(-3600)
    wrong(world)
    with pytest.raises(LogInDelayed) as delayed:
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert delayed.value.retry_after == delay_after(FREE + 2)
    world.go_on(delay_after(FREE + 2))
    assert world.accounts.log_in(NAME, PASSWORD, ADDRESS)


@pytest.mark.usefixtures("alice")
def test_clocks_that_differ_by_little_give_no_try(world: Users) -> None:
    """Of two instances whose clocks are seconds apart, none lets a try through that the other one delays."""
    wrong(world, times=FREE + 1)
    world.go_on(-4)
    with pytest.raises(LogInDelayed):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)


@pytest.mark.usefixtures("alice")
def test_the_newest_log_in_stays_after_the_clock_was_set_back(world: Users) -> None:
    """One more than there may be ends another one, though its own id is the lowest now."""
    for _ in range(MOST):
        world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    world.ids.age = 3600.0
    tokens = world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert world.rows(sessions) == MOST
    assert world.sessions.refresh(tokens.refresh_token, ADDRESS)
