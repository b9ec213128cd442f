"""What our services refuse, as HTTP tells it; the statuses of the library's own errors are in `common.web.problems`."""

from typing import ClassVar

from halfmessage.errors import HalfMessageError, Unavailable

__all__ = [
    "Forbidden",
    "IdempotencyMismatch",
    "Invalid",
    "Malformed",
    "MethodNotAllowed",
    "OrdersError",
    "PeerUnavailable",
    "RedisUnavailable",
    "SchemaMismatch",
    "TooLarge",
    "TooManyRequests",
    "TooSlow",
    "Unauthenticated",
    "UnsupportedMediaType",
]


class OrdersError(HalfMessageError):
    """Something went wrong inside; the log has it under this request's id."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"


class Malformed(OrdersError):
    """The request can't be read."""

    status, slug, title = 400, "malformed", "Malformed request"


class Unauthenticated(OrdersError):
    """Send a valid bearer token: Authorization: Bearer <JWT>."""

    status, slug, title = 401, "unauthenticated", "Not authenticated"


class Forbidden(OrdersError):
    """The token lacks the scope that this call needs."""

    status, slug, title = 403, "forbidden", "Forbidden"


class MethodNotAllowed(OrdersError):
    """The resource does not know this method; the Allow header lists those it knows."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class TooSlow(OrdersError):
    """The body did not arrive in the time that is waited for it."""

    status, slug, title = 408, "too-slow", "Request too slow"


class TooLarge(OrdersError):
    """The request is larger than this service takes."""

    status, slug, title = 413, "too-large", "Request too large"


class UnsupportedMediaType(OrdersError):
    """Send the body as application/json in UTF-8."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class Invalid(OrdersError):
    """The request breaks a rule; errors lists which, by JSON pointer."""

    status, slug, title = 422, "invalid", "Invalid request"


class IdempotencyMismatch(OrdersError):
    """This Idempotency-Key was used for another request body before."""

    status, slug, title = 422, "idempotency-mismatch", "Idempotency key reused"


class TooManyRequests(OrdersError):
    """Too many requests; wait as long as Retry-After says."""

    status, slug, title = 429, "too-many-requests", "Too many requests"
    retry_after: int = 1
    """Seconds."""


class PeerUnavailable(Unavailable):
    """A service that this call needs did not answer in time; nothing was changed, try again."""


class RedisUnavailable(Unavailable):
    """Redis does not answer; nothing was changed, try again."""


class SchemaMismatch(OrdersError):
    """The database's schema is not that of this release."""
