"""Tokens of the user service: taken by its public keys, and by nothing else; those of the shared secret by setting."""

import base64
import hmac
import time
from typing import Any

import jwt
import orjson
import pytest
from structlog.testing import capture_logs

from common.auth import Identity, Verifier, issue
from common.errors import PeerUnavailable, Unauthenticated
from common.jwk import FRESH
from tests.signing import KID, PRIVATE, PUBLIC, Keys, claims_of, token

SECRET = "s" * 32
OTHER = b"\x07" * 32
USER = "7365241901285376"


def verifier(*, shared_secret: bool = True) -> Verifier:
    return Verifier(SECRET if shared_secret else None, Keys())


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def by_hmac(head: Any, key: bytes) -> str:
    """Return a token whose signature is HMAC-SHA256 by `key`, whatever its head says."""
    signed = f"{part(head)}.{part(claims_of())}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


def unsigned(head: Any) -> str:
    return f"{part(head)}.{part(claims_of())}."


def spliced() -> str:
    """Return a good token with another one's claims."""
    head, _, signature = token().split(".")
    return f"{head}.{part(claims_of('1'))}.{signature}"


def test_a_users_token_names_its_user_scopes_and_log_in() -> None:
    """It is verified by the key that it names, the second time out of the cache."""
    keys = Keys()
    checks = Verifier(SECRET, keys)
    header = f"Bearer {token()}"
    assert checks.verify(header) == Identity(USER, frozenset({"orders"}), "12")
    assert checks.verify(header) is checks.verify(header)
    assert keys.asked == [KID]
    assert checks.expires(header) == pytest.approx(time.time() + 900, abs=2)


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("forged: another key under this name", lambda: token(OTHER)),
        ("a key that is not published", lambda: token(kid="key-2")),
        ("the claims of another token", spliced),
        ("no signature", lambda: token().rpartition(".")[0] + "."),
        ("a cut signature", lambda: token()[:-6]),
        ("expired", lambda: token(exp=int(time.time()) - 1)),
        ("never expires", lambda: token(exp=None)),
        ("expires at no time", lambda: token(exp="soon")),
        ("expires after all time", lambda: token(exp=1e400)),
        ("not yet valid", lambda: token(nbf=int(time.time()) + 3600)),
        ("another audience", lambda: token(aud="elsewhere")),
        ("no audience", lambda: token(aud=None)),
        ("another issuer", lambda: token(iss="somebody")),
        ("no issuer", lambda: token(iss=None)),
        ("no user", lambda: token(sub=None)),
        ("a user who is none", lambda: token(sub="a b")),
        ("a number as user", lambda: token(sub=7)),
        ("scopes as a list", lambda: token(scope=["orders"])),
        ("alg none", lambda: unsigned({"alg": "none", "typ": "JWT", "kid": KID})),
        ("alg None", lambda: unsigned({"alg": "None", "kid": KID})),
        ("no algorithm", lambda: unsigned({"kid": KID})),
        ("EdDSA without a signature", lambda: unsigned({"alg": "EdDSA", "kid": KID})),
        ("EdDSA by the secret", lambda: by_hmac({"alg": "EdDSA", "kid": KID}, SECRET.encode())),
        ("the public key as an HMAC secret", lambda: by_hmac({"alg": "HS256", "kid": KID}, PUBLIC)),
        ("the public key as an HMAC secret, EdDSA", lambda: by_hmac({"alg": "EdDSA", "kid": KID}, PUBLIC)),
        ("the public key in base64url", lambda: by_hmac({"alg": "HS256"}, base64.urlsafe_b64encode(PUBLIC))),
        ("a key of its own", lambda: by_hmac({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, b"\x00\x00\x00")),
        ("a name that is none", lambda: by_hmac({"alg": "EdDSA", "kid": ["a"]}, SECRET.encode())),
        ("no name", lambda: by_hmac({"alg": "EdDSA"}, SECRET.encode())),
        ("lower case", lambda: by_hmac({"alg": "eddsa", "kid": KID}, SECRET.encode())),
        ("another curve's name", lambda: by_hmac({"alg": "ES256", "kid": KID}, SECRET.encode())),
    ],
)
def test_what_a_forger_could_send_is_refused(what: str, made: Any) -> None:
    """Each is the same 401, before and after a good token was seen, whether or not the shared secret is taken."""
    for shared_secret in (True, False):
        checks = verifier(shared_secret=shared_secret)
        forged = f"Bearer {made()}"
        with pytest.raises(Unauthenticated):
            checks.verify(forged)
        checks.verify(f"Bearer {token()}")
        with pytest.raises(Unauthenticated):
            checks.verify(forged)
    assert what


def test_a_key_that_is_no_key_is_refused() -> None:
    """Not every 32 bytes are a point of the curve; it is no server error."""
    with pytest.raises(Unauthenticated):
        Verifier(SECRET, Keys(**{KID: b"\xff" * 32})).verify(f"Bearer {token()}")


def test_no_token_of_the_user_service_is_a_services() -> None:
    """Whatever its database were made to say: what is a user's may call nothing that is for services."""
    assert verifier().verify(f"Bearer {token(scope='orders admin service')}").scopes == {"orders", "admin"}


def test_what_user_does_not_tell_is_not_refused() -> None:
    """A token whose key can't be had now may be good: a 503, which is tried again, and no 401, which logs out."""

    class Down:
        told = False

        def find(self, kid: str) -> bytes | None:  # noqa: ARG002
            raise PeerUnavailable

    with pytest.raises(PeerUnavailable):
        Verifier(SECRET, Down()).verify(f"Bearer {token()}")


def test_what_kept_keys_verify_is_not_remembered() -> None:
    """A key may have been withdrawn: it is asked for with each request, until user has told its keys itself."""
    keys = Keys()
    keys.told = False
    checks, header = Verifier(SECRET, keys), f"Bearer {token()}"
    assert checks.verify(header) == checks.verify(header) == Identity(USER, frozenset({"orders"}), "12")
    keys.told = True
    checks.verify(header)
    keys.keys.clear()
    checks.verify(header)
    assert keys.asked == [KID] * 3


def test_a_token_of_a_key_that_ended_goes_though_it_says_years(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stole a key writes any end into a token: it is remembered for so long as user's keys are, and no longer."""
    keys, now = Keys(), time.time()
    checks, header = Verifier(SECRET, keys), f"Bearer {token(exp=int(now) + 10 * 366 * 86_400)}"
    monkeypatch.setattr("common.auth.time.time", lambda: now)
    checks.verify(header)
    keys.keys.clear()
    checks.verify(header)
    now += FRESH
    with pytest.raises(Unauthenticated):
        checks.verify(header)


def test_without_public_keys_no_users_token_is_taken() -> None:
    """A verifier of the secret alone knows HS256 alone."""
    with pytest.raises(Unauthenticated):
        Verifier(SECRET).verify(f"Bearer {token()}")


def test_tokens_of_the_shared_secret_go_on_and_are_warned_of_once() -> None:
    """Those of deployments from before; services' own are nothing to warn of."""
    checks = verifier()
    with capture_logs() as logs:
        assert checks.verify(f"Bearer {issue(SECRET, 'order', ['service'], 60)}").scopes == {"service"}
        assert logs == []
        for name in ("alice", "bob"):
            assert checks.verify(f"Bearer {issue(SECRET, name, ['orders', 'admin'], 60)}").scopes == {"orders", "admin"}
    assert [line["see"] for line in logs] == ["ORDERS_HS256_TOKENS"]


@pytest.mark.parametrize(
    ("user", "scopes"),
    [
        ("alice", ["orders"]),
        ("alice", []),
        ("root", ["admin"]),
        ("order", ["orders"]),
        ("order", ["service"]),
        (USER, ["service"]),
        ("prometheus", []),
    ],
)
def test_the_shared_secret_makes_no_token_at_all(user: str, scopes: list[str]) -> None:
    """Without the setting, what all services have is good for nothing: no user's token, and no service's."""
    header = f"Bearer {issue(SECRET, user, scopes, 60)}"
    verifier().verify(header)
    with pytest.raises(Unauthenticated):
        verifier(shared_secret=False).verify(header)


def test_a_service_can_not_make_one_by_naming_the_issuer() -> None:
    """A token of the secret is one of the secret, whatever its claims and head say."""
    for head in ({}, {"kid": KID}):
        header = f"Bearer {jwt.encode(claims_of(), SECRET, algorithm='HS256', headers=head)}"
        assert verifier().verify(header).session_id is None
        with pytest.raises(Unauthenticated):
            verifier(shared_secret=False).verify(header)


def test_the_secret_signs_nothing_with_a_private_key() -> None:
    """What a service has, the secret and the public keys, makes no signature that verifies."""
    for stolen in (SECRET.encode(), PUBLIC):
        with pytest.raises(Unauthenticated):
            verifier().verify(f"Bearer {token(stolen)}")
    verifier().verify(f"Bearer {token(PRIVATE)}")
