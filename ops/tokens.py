"""Bearer tokens of a deployment, made from its secret."""

from collections.abc import Iterable

from common import auth
from ops.errors import CommandFailed
from ops.places import DataDir


def issue(place: DataDir, user: str, scopes: Iterable[str], lifetime: float) -> str:
    """Return a token for `user`, valid for `lifetime` seconds. Raise `NoDeployment`, `CommandFailed`."""
    try:
        return auth.issue(place.secret(), user, scopes, lifetime)
    except ValueError as error:
        raise CommandFailed(f"No token for {user!r}: {error}.") from error
