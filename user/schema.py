"""What goes over the user service's REST interface."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from common.jwk import text_of
from common.schema import Id, Instant, Schema
from user.model import LONGEST_PASSWORD, NAME_PATTERN, SHORTEST_PASSWORD
from user.service.accounts import User
from user.service.keys import SigningKey
from user.service.sessions import Tokens

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN), Field(examples=["alice"])]
_Secret = Field(repr=False, json_schema_extra={"format": "password"})
NewPassword = Annotated[
    str,
    StringConstraints(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD),
    _Secret,
    Field(description="of any characters: what counts is its length"),
]
Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PASSWORD), _Secret]
Token = Annotated[str, _Secret]
Base64Url = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]{43}$")]


class NewUser(Schema):
    """A user to be."""

    name: Name
    password: NewPassword


class LogIn(Schema):
    """Who logs in."""

    name: Name
    password: Password


class Refresh(Schema):
    """A refresh token, which is good once."""

    refresh_token: Annotated[Token, StringConstraints(min_length=1, max_length=256)]


class ChangePassword(Schema):
    """The password, and the one to be."""

    password: Password
    new_password: NewPassword


class RemoveUser(Schema):
    """The password, for what can't be undone."""

    password: Password


class UserOut(Schema):
    """A user."""

    user_id: Id
    name: Name
    scopes: tuple[Literal["admin", "orders"], ...]
    created_at: Instant
    password_changed_at: Instant

    @classmethod
    def of(cls, user: User) -> "UserOut":
        """Write a user."""
        return cls(
            user_id=user.user_id,
            name=user.name,
            scopes=("admin", "orders") if user.is_admin else ("orders",),
            created_at=user.created_at,
            password_changed_at=user.password_changed_at,
        )


class TokensOut(Schema):
    """What a log-in gives; `expires_in`: seconds that the access token is good."""

    access_token: Token
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - RFC 6750's
    expires_in: int
    refresh_token: Token

    @classmethod
    def of(cls, tokens: Tokens) -> "TokensOut":
        """Write tokens."""
        return cls(access_token=tokens.access_token, expires_in=tokens.expires_in, refresh_token=tokens.refresh_token)


class LoggedOut(Schema):
    """The log-in that ended; its access token is good for minutes still."""

    session_id: Id


class Removed(Schema):
    """The user that is no more."""

    user_id: Id


class Jwk(Schema):
    """A public key (RFC 8037). `exp`: when its last token has ended, seconds since the epoch; null while it signs."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"
    kid: Base64Url
    x: Base64Url
    exp: int | None


class Jwks(Schema):
    """The keys that verify users' tokens (RFC 7517)."""

    keys: tuple[Jwk, ...]

    @classmethod
    def of(cls, keys: Sequence[SigningKey]) -> "Jwks":
        """Write the public halves of keys."""
        return cls(
            keys=tuple(
                Jwk(kid=key.kid, x=text_of(key.public), exp=None if key.ends_at is None else key.ends_at // 1000)
                for key in keys
            )
        )
