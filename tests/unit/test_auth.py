"""Tokens: what is issued is accepted, and nothing else."""

import base64
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.auth import Identity, Verifier, issue
from common.errors import Unauthenticated
from tests.support import eventually

SECRET = "s" * 32
CLAIMS = {"sub": "alice", "scope": "orders", "aud": "orders", "exp": 4_000_000_000}


def bearer(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"


def test_an_issued_token_names_its_user_and_scopes() -> None:
    """Issue and verify fit together, the second time out of the cache."""
    verifier = Verifier(SECRET)
    header = f"Bearer {issue(SECRET, 'alice', ['orders', 'admin'], 60)}"
    expected = Identity("alice", frozenset({"orders", "admin"}))
    assert verifier.verify(header) == expected
    assert verifier.verify(header) is verifier.verify(header)


def test_the_scheme_s_case_does_not_matter_and_no_scope_is_fine() -> None:
    """RFC 9110: schemes are case-insensitive; a token without scopes is still a user's."""
    claims = {key: value for key, value in CLAIMS.items() if key != "scope"}
    assert Verifier(SECRET).verify(bearer(claims).replace("Bearer", "bearer")) == Identity("alice", frozenset())


def test_scopes_that_we_do_not_know_mean_nothing() -> None:
    """A token may carry other systems' scopes."""
    assert Verifier(SECRET).verify(bearer(CLAIMS | {"scope": "orders  root"})).scopes == {"orders"}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Basic YTpi",
        "Bearer " + "x" * 5000,
        bearer(CLAIMS, secret="t" * 32),
        bearer(CLAIMS, secret="s" * 64, algorithm="HS512"),
        bearer(CLAIMS, secret="", algorithm="none"),
        bearer(CLAIMS | {"exp": 1}),
        bearer(CLAIMS | {"exp": "soon"}),
        bearer(CLAIMS | {"exp": 1e400}),
        bearer(CLAIMS | {"nbf": 3_999_999_999}),
        bearer(CLAIMS | {"aud": "elsewhere"}),
        bearer(CLAIMS | {"sub": ""}),
        bearer(CLAIMS | {"sub": "a b"}),
        bearer(CLAIMS | {"sub": "x" * 65}),
        bearer(CLAIMS | {"sub": "älice"}),
        bearer(CLAIMS | {"scope": ["orders"]}),
        *(bearer({k: v for k, v in CLAIMS.items() if k != missing}) for missing in ("sub", "aud", "exp")),
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    """Wrong keys, algorithms, times, audiences and odd users are all the same 401."""
    with pytest.raises(Unauthenticated):
        Verifier(SECRET).verify(header)


def _by_hand(header: Any, claims: Any, key: bytes) -> str:
    """Return a token whose signature is HMAC-SHA256 by `key`, whatever its header says."""
    parts = [base64.urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in (header, claims)]
    signature = hmac.digest(key, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


PUBLIC_KEY = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("header", "key"),
    [
        *(({"alg": alg, "typ": "JWT"}, SECRET.encode()) for alg in ("RS256", "ES256", "PS256", "HS384", "hs256", "")),
        *(({"alg": alg, "typ": "JWT"}, b"") for alg in ("none", "None", "nOnE", "HS256")),
        ({"typ": "JWT"}, SECRET.encode()),
        ({"alg": ["HS256"]}, SECRET.encode()),
        ({"alg": None}, SECRET.encode()),
        ({"alg": "HS256"}, PUBLIC_KEY),
        ({"alg": "RS256"}, PUBLIC_KEY),
        ({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "x"}, b"\x00\x00\x00"),
        ({"alg": "HS256", "kid": "../../../dev/null"}, b""),
        ([], SECRET.encode()),
        ("HS256", SECRET.encode()),
    ],
)
def test_the_token_does_not_choose_how_it_is_verified(header: Any, key: bytes) -> None:
    """HS256 with our secret, and nothing that a token's own header says: no other algorithm, no key of its own."""
    Verifier(SECRET).verify(f"Bearer {_by_hand({'alg': 'HS256'}, CLAIMS, SECRET.encode())}")
    with pytest.raises(Unauthenticated):
        Verifier(SECRET).verify(f"Bearer {_by_hand(header, CLAIMS, key)}")


@pytest.mark.parametrize("claims", [[], "alice", None, 7, CLAIMS | {"sub": 7}, CLAIMS | {"sub": None}])
def test_claims_that_are_none_are_refused(claims: Any) -> None:
    """Properly signed nonsense is a 401, not a bug."""
    with pytest.raises(Unauthenticated):
        Verifier(SECRET).verify(f"Bearer {_by_hand({'alg': 'HS256'}, claims, SECRET.encode())}")


@given(st.text(max_size=80))
def test_no_header_is_a_bug(text: str) -> None:
    """Whatever stands in the header: refused, and nothing else."""
    for header in (text, f"Bearer {text}", f"Bearer a.{text}.b", f"bearer\t{text}"):
        with pytest.raises(Unauthenticated):
            Verifier(SECRET).verify(header)


def test_a_tampered_token_is_refused_although_its_original_is_remembered() -> None:
    """The cache knows whole tokens, not parts of them."""
    verifier = Verifier(SECRET)
    header = bearer(CLAIMS)
    verifier.verify(header)
    other = bearer(CLAIMS | {"sub": "bob"}, secret="t" * 32)
    with pytest.raises(Unauthenticated):
        verifier.verify(f"{other.rpartition('.')[0]}.{header.rpartition('.')[2]}")


def test_a_remembered_token_expires() -> None:
    """A token is accepted to its last second and no longer, verified before or not."""
    verifier = Verifier(SECRET)
    header = bearer(CLAIMS | {"exp": int(time.time()) + 1})

    def refused() -> bool:
        try:
            verifier.verify(header)
        except Unauthenticated:
            return True
        return False

    assert not refused()
    eventually(refused, within=5)


def test_a_token_of_an_issuer_whose_clock_is_ahead_is_accepted() -> None:
    """When a token was issued refuses nothing, only when it expires does: clocks of machines differ."""
    assert Verifier(SECRET).verify(bearer(CLAIMS | {"iat": int(time.time()) + 60})).user_id == CLAIMS["sub"]


def test_remembering_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million users do not fill the memory."""
    monkeypatch.setattr("common.auth._CACHED", 2)
    verifier = Verifier(SECRET)
    for user in ("a", "b", "c", "d", "e"):
        verifier.verify(bearer(CLAIMS | {"sub": user}))
    assert len(verifier._verified) <= 2


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: issue(SECRET, "", [], 60),
        lambda: issue(SECRET, "a b", [], 60),
        lambda: issue(SECRET, "alice", ["root"], 60),
    ],
)
def test_tokens_that_would_not_work_are_not_issued(attempt: Callable[[], str]) -> None:
    """A mistake shows where it is made."""
    with pytest.raises(ValueError, match=r"the scopes|a user"):
        attempt()
