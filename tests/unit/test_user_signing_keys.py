"""Signing keys: published before they sign, and until their last token has ended; never a restart."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection

from common import ed25519
from common.auth import Verifier
from common.errors import Unauthenticated
from common.jwk import raw_of, text_of, thumbprint
from common.user_keys import REFETCH, UserKeys
from halfmessage.errors import Unavailable
from tests.users import ADDRESS, NAME, PASSWORD, Users
from user.model import signing_keys
from user.schema import Jwks
from user.service import keys as module
from user.service.keys import LEAD, MARGIN, SigningKey, SigningKeys

LIFETIME = 900.0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Users]:
    monkeypatch.setattr(module, "_READ_AFTER", 0.0)
    made = Users(tmp_path)
    yield made
    made.close()


def test_a_new_key_is_published_before_it_signs_and_an_old_one_until_its_last_token_has_ended(world: Users) -> None:
    """Step by step through a rotation."""
    first = world.keys.signer()
    second = world.keys.rotate()
    assert [key.kid for key in world.keys.published()] == [first.kid, second.kid]
    assert world.keys.signer().kid == first.kid
    world.go_on(LEAD - 1)
    assert world.keys.signer().kid == first.kid
    world.go_on(1)
    assert world.keys.signer().kid == second.kid
    world.go_on(LIFETIME + MARGIN - 1)
    assert world.keys.find(first.kid) == first.public
    assert world.keys.purge() == 0
    world.go_on(2)
    assert world.keys.find(first.kid) is None
    assert [key.kid for key in world.keys.published()] == [second.kid]
    assert world.keys.purge() == 1
    assert world.rows(signing_keys) == 1
    assert world.keys.purge() == 0


def test_no_verifier_refuses_a_token_during_a_rotation(world: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was asked for an unknown key just before the rotation, and so may not ask for a minute, asks in time."""
    clock = [1000.0]
    monkeypatch.setattr("common.user_keys.time.monotonic", lambda: clock[0])
    keys = UserKeys("", fetch=lambda: Jwks.of(world.keys.published()).model_dump(mode="json"))
    checks = Verifier(None, keys)
    world.accounts.register(NAME, PASSWORD)

    def log_in_is_taken() -> None:
        token = world.accounts.log_in(NAME, PASSWORD, ADDRESS).access_token
        assert checks.verify(f"Bearer {token}")

    log_in_is_taken()
    clock[0] += REFETCH
    assert keys.find("nothing") is None
    world.keys.rotate()
    for _ in range(20):  # 200 seconds
        log_in_is_taken()
        clock[0] += 10
        world.go_on(10)
    assert world.keys.signer().number == 2


def test_a_token_of_an_old_key_is_refused_in_the_end(world: Users) -> None:
    """Signed with a key that has gone, though it says that it is good: its thief's, or forged with its thief's."""
    old = world.keys.signer()
    token = ed25519.sign(
        {"iss": "orders/user", "aud": "orders", "sub": "1", "scope": "orders", "exp": 2**33}, old.private, old.kid
    )
    world.keys.rotate()
    Verifier("s" * 32, world.keys).verify(f"Bearer {token}")
    world.go_on(LEAD + LIFETIME + MARGIN)
    with pytest.raises(Unauthenticated):
        Verifier("s" * 32, world.keys).verify(f"Bearer {token}")


def test_instances_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    """Each signs with it."""
    made = Users(tmp_path)
    made.database.transact(lambda connection: connection.execute(signing_keys.delete()))
    instances = [SigningKeys(made.database, LIFETIME) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(instance.ensure) for instance in instances]:
            one.result()
    assert made.rows(signing_keys) == 1
    assert len({instance.signer().kid for instance in instances}) == 1
    made.close()


def test_a_restart_keeps_keys_and_tokens(tmp_path: Path) -> None:
    """They are rows and nothing else: a container that is made anew, as in docker/, needs no file of the one before."""
    before = Users(tmp_path)
    before.accounts.register(NAME, PASSWORD)
    before.keys.rotate()
    token = before.accounts.log_in(NAME, PASSWORD, ADDRESS).access_token
    published = before.keys.published()
    before.close()
    after = Users(tmp_path)
    assert after.keys.published() == published
    assert Verifier(None, after.keys).verify(f"Bearer {token}")
    after.close()


def test_another_instance_signs_with_a_rotated_key_without_a_restart(world: Users) -> None:
    """It reads the keys again by itself."""
    other = SigningKeys(world.database, LIFETIME, clock=world.now)
    other.ensure()
    made = world.keys.rotate()
    world.go_on(LEAD)
    assert other.signer().kid == made.kid


def test_a_database_that_hangs_holds_up_one_who_asks_for_keys(world: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others go on with the keys that are known: none waits for a lock that the first one holds."""
    kid = world.keys.signer().kid
    is_reading, goes_on = threading.Event(), threading.Event()
    read = world.keys._all

    def hang(connection: Connection) -> Sequence[SigningKey]:
        is_reading.set()
        goes_on.wait(30)
        return read(connection)

    monkeypatch.setattr(world.keys, "_all", hang)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(world.keys.signer)
        assert is_reading.wait(10)
        try:
            assert pool.submit(world.keys.find, kid).result(5) is not None
            monkeypatch.setattr(module, "_READ_WITHIN", 0.01)
            with pytest.raises(Unavailable):  # what must be read anew is not waited for without an end
                pool.submit(world.keys.purge).result(5)
        finally:
            goes_on.set()
        assert first.result(10).kid == kid


def test_a_private_key_shows_nowhere(world: Users) -> None:
    """Neither in what is published, nor in a traceback."""
    key = world.keys.signer()
    for told in (repr(key), Jwks.of([key]).model_dump_json()):
        assert repr(key.private) not in told
        assert text_of(key.private) not in told


def test_a_key_s_name_is_its_thumbprint() -> None:
    """The example of RFC 8037, appendix A.3."""
    public = raw_of("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_clock_that_is_set_back_behind_the_first_key(world: Users) -> None:
    """It goes on signing, and others go on taking its tokens: nobody has to wait until its time has come again."""
    first = world.keys.signer()
    world.go_on(-3600)
    assert world.keys.signer() == first
    assert [key.kid for key in world.keys.published()] == [first.kid]
    tokens = world.accounts.register(NAME, PASSWORD), world.accounts.log_in(NAME, PASSWORD, ADDRESS)
    assert tokens[1].access_token


def test_a_clock_that_is_set_back_behind_the_only_key_that_is_left(world: Users) -> None:
    """After a rotation whose first key is gone, the second one signs."""
    second = world.keys.rotate()
    world.go_on(LEAD + LIFETIME + MARGIN + 1)
    assert world.keys.purge() == 1
    world.go_on(-3600)
    assert world.keys.signer().kid == second.kid
