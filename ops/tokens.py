"""Bearer tokens of a deployment, signed with its operator's key."""

from collections.abc import Iterable
from pathlib import Path

from common.auth import claims_for
from common.own_keys import KeysUnusable, OwnKey
from common.registry import OPERATOR
from ops.errors import CommandFailed, NoDeployment
from ops.places import DataDir


def issue(place: DataDir, user: str, scopes: Iterable[str], lifetime: float) -> str:
    """Return a token for `user`, valid for `lifetime` seconds. Raise `NoDeployment`, `CommandFailed`."""
    place.secret()  # none for a deployment that is not there
    path = place.keys.private(OPERATOR)
    if not path.exists():
        raise NoDeployment(
            f"{place.root} is of an earlier release, and has no key of its operator: start it with: {place.hint('up')}"
        )
    return sign(path, OPERATOR, user, scopes, lifetime)


def sign(path: Path, owner: str, user: str, scopes: Iterable[str], lifetime: float) -> str:
    """Return a token of the owner of a private key. Raise `CommandFailed`."""
    try:
        return OwnKey(path, owner).sign(claims_for(user, scopes, lifetime))
    except KeysUnusable as error:
        raise CommandFailed(f"No token: {error.detail}.") from error
    except ValueError as error:
        raise CommandFailed(f"No token for {user!r}: {error}.") from error
