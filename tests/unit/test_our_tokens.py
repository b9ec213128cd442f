"""Tokens of our own processes: each is good for what its key's owner may say, where it may, and for nothing else."""

import errno
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

import ops.keys
from common import ed25519
from common.auth import Identity, Verifier, issue, verifier_of
from common.config import Settings
from common.consistency import faults_of
from common.errors import OrdersError, Unauthenticated
from common.jwk import public_keys, raw_of
from common.our_tokens import (
    OPERATOR_SCOPES,
    SERVICE_TOKEN_LIFETIME,
    ByKey,
    BySecret,
    OwnTokens,
    ServiceToken,
    tokens_of,
)
from common.own_keys import LOOK_EVERY, KeysUnusable, OwnKey, OwnPublicKeys
from common.registry import MONITOR, OPERATOR
from ops.keys import KeyStore
from tests.signing import Keys
from tests.signing import token as users_token

SECRET = "s" * 32


class Clocks:
    """The monotonic and the wall clock of this process, to be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic, self.wall = 5000.0, time.time()
        monkeypatch.setattr("common.our_tokens.time.monotonic", lambda: self.monotonic)
        monkeypatch.setattr("common.our_tokens.time.time", lambda: self.wall)

    def go_on(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def expiry(token: str) -> float:
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


def test_a_service_token_is_taken_by_the_other_services() -> None:
    """With the scope of a service, and nothing more."""
    token = ServiceToken(BySecret(SECRET), "order", "stock")()
    assert Verifier(SECRET).verify(f"Bearer {token}") == Identity("order", frozenset({"service"}))


def test_a_service_token_is_good_for_half_of_its_lifetime_whenever_it_is_asked_for(clocks: Clocks) -> None:
    """It is made anew in time, and not for each call."""
    token = ServiceToken(BySecret(SECRET), "order", "stock")
    seen = set()
    for _ in range(200):
        seen.add(token())
        assert expiry(token()) - clocks.wall >= SERVICE_TOKEN_LIFETIME / 2
        clocks.go_on(SERVICE_TOKEN_LIFETIME / 20)
    assert 15 <= len(seen) <= 21


def test_a_service_token_is_renewed_after_the_machine_was_suspended(clocks: Clocks) -> None:
    """The monotonic clock stands still meanwhile; others go by the time of day."""
    token = ServiceToken(BySecret(SECRET), "order", "stock")
    token()
    clocks.wall += 3600
    assert expiry(token()) - clocks.wall >= SERVICE_TOKEN_LIFETIME / 2


def test_a_service_token_is_renewed_though_the_clock_was_set_back(clocks: Clocks) -> None:
    """One that was issued by a clock that was wrong is not used until that has caught up."""
    token = ServiceToken(BySecret(SECRET), "order", "stock")
    before = token()
    clocks.wall -= 3600
    clocks.monotonic += SERVICE_TOKEN_LIFETIME / 2
    assert token() != before


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    """Return a directory with the keys of a few owners."""
    made = KeyStore(tmp_path / "keys")
    made.ensure(("order", "flash", "user", OPERATOR, MONITOR))
    return made


def verifier(store: KeyStore, service: str = "stock", *, operator: str = "all", secret: str | None = None) -> Verifier:
    """Return what a service verifies with; users' tokens are those of `tests.signing`."""
    ours = OwnTokens(OwnPublicKeys(store.public), service, OPERATOR_SCOPES[operator])
    return Verifier(secret, Keys(), ours)


def shown(store: KeyStore, owner: str = "order", peer: str = "stock") -> str:
    """Return the header of a service's call of another."""
    return f"Bearer {ServiceToken(ByKey(OwnKey(store.private(owner), owner)), owner, peer)()}"


def signed(store: KeyStore, owner: str, **changed: Any) -> str:
    """Return a token that an owner's key signed, with claims of its choice; those that are None left out."""
    claims = {"sub": owner, "scope": "service", "aud": "orders/stock", "exp": int(time.time()) + 60} | changed
    document = OwnKey(store.private(owner), owner)
    kid, raw = document._file.value
    told = {"iss": f"orders/process/{owner}"} | claims
    return ed25519.sign({name: value for name, value in told.items() if value is not None}, raw, kid)


def test_a_service_s_token_names_the_service(store: KeyStore) -> None:
    """With the scope of a service and nothing more; the second time out of what is remembered."""
    checks, header = verifier(store), shown(store)
    assert checks.verify(header) == Identity("order", frozenset({"service"}))
    assert checks.verify(header) is checks.verify(header)


USERS = {"iss": "orders/user", "aud": "orders", "sub": "7365241901285376", "scope": "orders admin", "sid": "1"}
OPERATORS = {"iss": "orders/process/operator", "aud": "orders", "sub": "root", "scope": "admin"}


def old(store: KeyStore) -> str:
    """Return a token of a key that was withdrawn, and has ended."""
    made = signed(store, "order")
    store.rotate("order", withdraw=True)
    document = json.loads(store.public.read_text())
    for key in document["keys"]:
        key["exp"] = key["exp"] and time.time() - 1
    store.public.write_text(json.dumps(document))
    return made


def forged(store: KeyStore) -> str:
    """Return a token that names order's key, and is signed with flash's."""
    kid, _ = OwnKey(store.private("order"), "order")._file.value
    _, raw = OwnKey(store.private("flash"), "flash")._file.value
    claims = {"iss": "orders/process/order", "sub": "order", "scope": "service", "aud": "orders/stock"}
    return ed25519.sign(claims | {"exp": int(time.time()) + 60}, raw, kid)


def jwt_by_public(store: KeyStore) -> str:
    """Return a token whose HMAC secret is a public key, which every client knows."""
    key = next(iter(public_keys({"keys": [*_document(store)["keys"]]}).values()))
    claims = {"sub": "order", "scope": "service", "aud": "orders", "exp": int(time.time()) + 60}
    return jwt.encode(claims, key.raw, algorithm="HS256")


def _document(store: KeyStore) -> Any:
    return json.loads(store.public.read_text())


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("replayed: for another service", lambda s: signed(s, "order", aud="orders/goods")),
        ("replayed: what flash was shown", lambda s: shown(s, "order", "flash").removeprefix("Bearer ")),
        ("for users' calls", lambda s: signed(s, "order", aud="orders")),
        ("for nobody", lambda s: signed(s, "order", aud=None)),
        ("forged: a user's token", lambda s: signed(s, "order", **USERS)),
        ("forged: a user's token by user's own key for calls", lambda s: signed(s, "user", **USERS)),
        ("forged: the operator's", lambda s: signed(s, "order", **OPERATORS)),
        ("forged: another service's", lambda s: signed(s, "order", sub="flash")),
        ("forged: in its issuer, too", lambda s: signed(s, "order", sub="flash", iss="orders/process/flash")),
        ("forged: another key under the name", forged),
        ("a key of its own", lambda _: ed25519.sign({"iss": "orders/process/order"}, b"k" * 32, "mine")),
        ("a user's id", lambda s: signed(s, "order", sub="7365241901285376")),
        ("expired", lambda s: signed(s, "order", exp=int(time.time()) - 1)),
        ("never expires", lambda s: signed(s, "order", exp=None)),
        ("not yet", lambda s: signed(s, "order", nbf=int(time.time()) + 600)),
        ("old: of a key that has ended", old),
        ("altered", lambda s: signed(s, "order")[:-6] + "AAAAAA"),
        ("the secret that services share", lambda _: issue(SECRET, "order", ["service"], 60)),
        ("the public key as a secret", jwt_by_public),
        ("Prometheus as a service", lambda s: signed(s, MONITOR)),
        ("Prometheus as somebody", lambda s: signed(s, MONITOR, aud="orders", sub="alice", scope="orders")),
    ],
)  # fmt: skip
def test_what_is_refused(store: KeyStore, what: str, made: Callable[[KeyStore], str]) -> None:
    """Each is the same 401, before and after a good token was seen."""
    checks = verifier(store)
    checks.verify(shown(store, "flash"))
    header = f"Bearer {made(store)}"
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            verifier(store).verify(header)
        with pytest.raises(Unauthenticated):
            verifier(store, operator="none").verify(header)
    assert what


def test_a_service_is_no_user(store: KeyStore) -> None:
    """Whatever scopes its token names: it may do what services may."""
    checks = verifier(store)
    found = checks.verify(f"Bearer {signed(store, 'order', scope='orders admin service')}")
    assert found == Identity("order", frozenset({"service"}))


def test_users_tokens_go_on_beside_them_and_are_no_services(store: KeyStore) -> None:
    """By user's keys, which no file of ours has."""
    found = verifier(store).verify(f"Bearer {users_token(scope='orders service')}")
    assert found.scopes == {"orders"}


@pytest.mark.parametrize(
    ("operator", "scopes"), [("all", {"orders", "admin", "service"}), ("admin", {"admin"}), ("none", None)]
)
def test_what_the_operator_may_is_a_setting(store: KeyStore, operator: str, scopes: set[str] | None) -> None:
    """Anything in development; an admin's calls; nothing."""
    made = signed(store, OPERATOR, aud="orders", sub="alice", scope="orders admin service")
    checks = verifier(store, operator=operator)
    if scopes is None:
        with pytest.raises(Unauthenticated):
            checks.verify(f"Bearer {made}")
    else:
        assert checks.verify(f"Bearer {made}") == Identity("alice", frozenset(scopes))


def test_prometheus_reads_metrics_and_may_do_nothing(store: KeyStore) -> None:
    """At every service, with the operator's tokens refused as well."""
    made = signed(store, MONITOR, aud="orders", scope="admin")
    for service in ("stock", "user"):
        assert verifier(store, service, operator="none").verify(f"Bearer {made}") == Identity(MONITOR, frozenset())


class TestRotation:
    """Of one key, while services go on."""

    def test_no_call_is_refused(self, store: KeyStore, clocks: Clocks) -> None:
        """Tokens of before are good until they end; the new key signs, and is known at once."""
        checks, before = verifier(store), shown(store)
        token = ServiceToken(ByKey(OwnKey(store.private("order"), "order")), "order", "stock")
        assert checks.verify(f"Bearer {token()}").user_id == "order"
        kid = store.rotate("order").kid
        while clocks.monotonic < 5000 + 2 * SERVICE_TOKEN_LIFETIME:
            for one in (checks, verifier(store)):  # one that just started, too
                assert one.verify(f"Bearer {token()}").user_id == "order"
            clocks.go_on(LOOK_EVERY)
        assert jwt.get_unverified_header(token())["kid"] == kid
        with pytest.raises(Unauthenticated):
            checks.verify(before)

    def test_a_key_that_is_withdrawn_is_not_taken_though_its_tokens_are_remembered(
        self, store: KeyStore, clocks: Clocks
    ) -> None:
        """Within seconds, at those who verified one before; the service itself signs with the new one by then."""
        checks = verifier(store)
        token = ServiceToken(ByKey(OwnKey(store.private("order"), "order")), "order", "stock")
        stolen = f"Bearer {token()}"
        checks.verify(stolen)
        store.rotate("order", withdraw=True)
        for _ in range(4):
            assert checks.verify(f"Bearer {token()}").user_id == "order"
            clocks.go_on(LOOK_EVERY)
        with pytest.raises(Unauthenticated):
            checks.verify(stolen)

    def test_others_keys_stay(self, store: KeyStore) -> None:
        """A rotation is of one owner."""
        before = shown(store, "flash")
        store.rotate("order", withdraw=True)
        assert verifier(store).verify(before).user_id == "flash"

    def test_a_file_that_can_not_be_read_changes_nothing(self, store: KeyStore, clocks: Clocks) -> None:
        """The keys of before go on, and the log says so."""
        checks = verifier(store)
        checks.verify(shown(store))
        token = ServiceToken(ByKey(OwnKey(store.private("order"), "order")), "order", "stock")
        token()
        for file in (store.public, store.private("order")):
            file.write_text("half a fi")
        with capture_logs() as logs:
            for _ in range(3):
                clocks.go_on(SERVICE_TOKEN_LIFETIME)
                assert checks.verify(f"Bearer {token()}").user_id == "order"
        assert {line["event"] for line in logs} == {"keys can't be read anew; those from before go on"}


class TestStore:
    """The files."""

    def test_only_the_owner_reads_a_private_key(self, store: KeyStore) -> None:
        """Mode 0600, in a directory of its own; the set of public ones holds no private part."""
        for owner in ("order", OPERATOR):
            assert store.private(owner).stat().st_mode & 0o777 == 0o600
            assert store.private(owner).parent.stat().st_mode & 0o777 == 0o700
        assert all("d" not in key for key in _document(store)["keys"])

    def test_what_is_there_stays(self, store: KeyStore) -> None:
        """Again: nothing; a service that is new gets a key; a set that was lost is written again."""
        before = shown(store)
        found = {line.kid for line in store.lines()}
        store.ensure(("order", "flash", "user", OPERATOR, MONITOR))
        assert {line.kid for line in store.lines()} == found
        store.ensure(("coupon",))
        assert {line.owner for line in store.lines()} == {"order", "flash", "user", "coupon", OPERATOR, MONITOR}
        store.public.unlink()
        store.ensure(("order",))
        assert verifier(store).verify(before).user_id == "order"

    @pytest.mark.parametrize("failing", ["key.json", "keys.json"])
    def test_a_rotation_that_fails_half_way_ends_no_key_that_signs(
        self, store: KeyStore, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        """The key that signs has no end; the next start, or rotation, ends the others."""
        write, written = ops.keys._write, list[str]()

        def fails(path: Path, document: Any, mode: int) -> None:
            written.append(path.name)
            if path.name == failing and len(written) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, document, mode)

        with monkeypatch.context() as patched:
            patched.setattr(ops.keys, "_write", fails)
            with pytest.raises(OSError, match="No space"):
                store.rotate("order")
        signs = _private(store, "order")["kid"]
        assert {line.kid: line.ends_at for line in store.lines()}[signs] is None
        store.ensure(("order",))
        assert [line.kid for line in store.lines() if line.owner == "order" and line.ends_at is None] == [signs]
        assert verifier(store).verify(shown(store)).user_id == "order"

    def test_a_key_that_signs_and_has_an_end_is_revived(self, store: KeyStore) -> None:
        """As a rotation of an older build left it that failed half way."""
        document, signs = _document(store), _private(store, "order")["kid"]
        for key in document["keys"]:
            key["exp"] = 5 if key["kid"] == signs else key["exp"]
        store.public.write_text(json.dumps(document))
        store.ensure(("order",))
        assert [(line.kid, line.ends_at) for line in store.lines() if line.owner == "order"] == [(signs, None)]

    def test_keys_of_no_owner_are_no_keys(self, store: KeyStore) -> None:
        """An owner that is none of ours signs for no service."""
        private = raw_of(_private(store, "order")["d"])
        store.public.write_text(store.public.read_text().replace('"owner":"order"', '"owner":"root"'))
        kid = _private(store, "order")["kid"]
        claims = {"iss": "orders/process/root", "sub": "root", "scope": "service", "aud": "orders/stock"}
        made = ed25519.sign(claims | {"exp": int(time.time()) + 60}, private, kid)
        with pytest.raises(Unauthenticated):
            verifier(store).verify(f"Bearer {made}")


def _private(store: KeyStore, owner: str) -> Any:
    return json.loads(store.private(owner).read_text())


def settings(store: KeyStore, **more: Any) -> Settings:
    given = {"port": 1, "jwt_secret": SECRET, "database_url": "sqlite://", "public_keys": store.public, **more}
    return Settings(**given)


class TestSettings:
    """What a service signs and verifies with."""

    def test_by_its_key(self, store: KeyStore) -> None:
        """Where it has one; tokens of the secret are refused then, unless they are to go on."""
        own = settings(store, key_file=store.private("order"))
        header = f"Bearer {tokens_of(own, 'order')('stock')()}"
        of_secret = f"Bearer {issue(SECRET, 'order', ['service'], 60)}"
        assert verifier_of(own, "stock").verify(header).user_id == "order"
        with pytest.raises(Unauthenticated):
            verifier_of(own, "stock").verify(of_secret)
        both = settings(store, key_file=store.private("order"), hs256_tokens=True)
        assert verifier_of(both, "stock").verify(of_secret) == verifier_of(both, "stock").verify(header)

    def test_by_the_secret_in_a_deployment_from_before(self) -> None:
        """Which names no keys, and goes on as it did."""
        before = Settings(port=1, jwt_secret=SECRET, database_url="sqlite://")  # type: ignore[arg-type]
        header = f"Bearer {tokens_of(before, 'order')('stock')()}"
        assert verifier_of(before, "stock").verify(header) == Identity("order", frozenset({"service"}))

    def test_without_anything(self, store: KeyStore) -> None:
        """A service that calls others and has no key can't start, and says what to set."""
        assert any("ORDERS_KEY_FILE" in fault for fault in faults_of("order", settings(store)))
        assert faults_of("stock", settings(store)) == []
        with pytest.raises(OrdersError, match="ORDERS_KEY_FILE"):
            tokens_of(settings(store), "order")
        with pytest.raises(KeysUnusable, match="No such file"):
            tokens_of(settings(store, key_file=store.root / "none"), "order")
        with pytest.raises(KeysUnusable, match="No such file"):
            verifier_of(settings(store, public_keys=store.root / "none"), "stock")

    @pytest.mark.parametrize(
        ("given", "fault"),
        [
            ({"hs256_tokens": False, "public_keys": None}, "ORDERS_HS256_TOKENS=False needs ORDERS_PUBLIC_KEYS"),
            ({"key_file": "k", "public_keys": None}, "ORDERS_KEY_FILE needs ORDERS_PUBLIC_KEYS"),
        ],
    )
    def test_what_contradicts_itself(self, store: KeyStore, given: dict[str, Any], fault: str) -> None:
        """Services that would take no token of each other do not start."""
        with pytest.raises(ValidationError, match=fault):
            settings(store, **given)

    def test_in_production_the_operator_is_no_user(self, store: KeyStore) -> None:
        """And no service, unless it is said."""
        assert settings(store).operator_may == "all"
        strong = "kX3v9Qm2Lr8Tz5Wn7Yb4Hd6Pf1Gj0ScV"
        production = settings(store, environment="production", jwt_secret=strong)
        assert production.operator_may == "admin"
