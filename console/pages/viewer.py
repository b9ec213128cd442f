"""Who looks: the token in the cookie, verified anew at each request, and what proves that a form is ours."""

import hashlib
import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from flask import Request
from werkzeug.http import dump_cookie

from common.auth import Identity, Verifier
from common.errors import Forbidden, Unauthenticated
from console.pages.place import prefix

COOKIE: Final = "orders_console"
LONGEST: Final = 30 * 60  # seconds that a login lasts; less where its token expires before
SEES: Final = frozenset({"orders", "admin"})
"""The scopes of people. A token that has neither is a service's."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page. `token` is theirs: what the services let it see is what the page shows."""

    identity: Identity
    token: str = field(repr=False)
    csrf: str = field(repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether they may see everybody's orders, and what runs."""
        return "admin" in self.identity.scopes

    def may(self, scopes: Collection[str]) -> bool:
        """Whether they have one of the scopes."""
        return not self.identity.scopes.isdisjoint(scopes)


class Sessions:
    """Makes and reads the cookie. It keeps nothing: the cookie is the token."""

    def __init__(self, verifier: Verifier, secret: str) -> None:
        """Verify tokens with `verifier`; the key of forms is derived from `secret`, for this purpose alone."""
        self._verifier = verifier
        self._key = hmac.digest(secret.encode(), b"console forms", "sha256")

    def viewer(self, request: Request) -> Viewer:
        """Return who makes a request. Raise `Unauthenticated` without a valid cookie, `Forbidden` for a service's."""
        token = request.cookies.get(COOKIE, "")
        return Viewer(self._person(token), token, self._csrf(token))

    def login(self, request: Request, token: str) -> str:
        """Return the cookie for a token. Raise `Unauthenticated` where it is none, `Forbidden` for a service's."""
        self._person(token)
        left = self._verifier.expires(f"Bearer {token}") - time.time()
        return _cookie(request, token, min(LONGEST, int(left)))

    def logout(self, request: Request) -> str:
        """Return the cookie that ends a login."""
        return _cookie(request, "", 0)

    def is_ours(self, viewer: Viewer, csrf: str) -> bool:
        """Whether a form was sent from a page that this viewer was shown."""
        return hmac.compare_digest(viewer.csrf.encode(), csrf.encode())

    def _person(self, token: str) -> Identity:
        if not token:
            raise Unauthenticated("Log in first.")
        identity = self._verifier.verify(f"Bearer {token}")
        if identity.scopes.isdisjoint(SEES):
            raise Forbidden("This token is a service's. The console takes those of people: scope orders or admin.")
        return identity

    def _csrf(self, token: str) -> str:
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()


def _cookie(request: Request, value: str, seconds: int) -> str:
    by_https = "https" in {request.scheme, request.headers.get("X-Forwarded-Proto")}
    path = prefix(request) or "/"
    return dump_cookie(COOKIE, value, max_age=seconds, path=path, secure=by_https, httponly=True, samesite="Strict")
