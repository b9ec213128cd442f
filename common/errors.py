"""The error tree. Adapters translate every driver's exception into it; `common.web` turns it into RFC 9457."""

from typing import Any, ClassVar

__all__ = [
    "BelowZero",
    "BrokerCorrupt",
    "BrokerError",
    "ClockWentBack",
    "CommitOutcomeUnknown",
    "Conflict",
    "ConsoleUnavailable",
    "DatabaseUnavailable",
    "DuplicateRow",
    "FailpointRaised",
    "Forbidden",
    "GroupInUse",
    "GroupNotFound",
    "IdempotencyMismatch",
    "Invalid",
    "LeaseLost",
    "Malformed",
    "MessageNotFound",
    "MethodNotAllowed",
    "NotFound",
    "OrdersError",
    "OutcomeUnknown",
    "PeerUnavailable",
    "RowRefused",
    "TooLarge",
    "TooManyRequests",
    "TooSlow",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
    "another",
]


class OrdersError(Exception):
    """Something went wrong inside; the log has it under this request's id."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        """Take what a client may read (the class's docstring unless told) and further problem members."""
        super().__init__(detail or (type(self).__doc__ or "").split("\n", 1)[0])
        self.members = members

    @property
    def detail(self) -> str:
        """What a client may read."""
        return str(self.args[0])


class Malformed(OrdersError):
    """The request can't be read."""

    status, slug, title = 400, "malformed", "Malformed request"


class Unauthenticated(OrdersError):
    """Send a valid bearer token: Authorization: Bearer <JWT>."""

    status, slug, title = 401, "unauthenticated", "Not authenticated"


class Forbidden(OrdersError):
    """The token lacks the scope that this call needs."""

    status, slug, title = 403, "forbidden", "Forbidden"


class NotFound(OrdersError):
    """There is nothing here."""

    status, slug, title = 404, "not-found", "Not found"


class MethodNotAllowed(OrdersError):
    """The resource does not know this method; the Allow header lists those it knows."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class TooSlow(OrdersError):
    """The body did not arrive in the time that is waited for it."""

    status, slug, title = 408, "too-slow", "Request too slow"


class Conflict(OrdersError):
    """The state of the resource does not allow that."""

    status, slug, title = 409, "conflict", "Conflict"


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


class Unavailable(OrdersError):
    """Something that this call needs is down; nothing was changed, try again."""

    status, slug, title = 503, "unavailable", "Unavailable"
    retry_after: ClassVar[int] = 1  # seconds


class Overloaded(Unavailable):
    """More requests are waiting than can be served soon; nothing was changed, try again."""


class OutcomeUnknown(OrdersError):
    """The answer got lost on its way from the database; the check-back settles it, ask later."""

    status, slug, title = 503, "outcome-unknown", "Outcome unknown"
    retry_after: ClassVar[int] = 5  # seconds


class PeerUnavailable(Unavailable):
    """A service that this call needs did not answer in time; nothing was changed, try again."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer; nothing was changed, try again."""


class DatabaseMoved(DatabaseUnavailable):
    """The database's file was moved, deleted or replaced while in use; nothing was changed. Restart the service."""


class SchemaMismatch(OrdersError):
    """The database's schema is not that of this release."""


class CommitOutcomeUnknown(OutcomeUnknown):
    """The answer got lost on its way from the database: look whether the change is there before repeating it."""


class DuplicateRow(OrdersError):
    """A row with this key exists already (a unique or primary key was hit)."""


class RowRefused(OrdersError):
    """The database refused a value that no check of ours had refused; nothing was changed."""


class BelowZero(OrdersError):
    """A CHECK constraint of the database refused the row."""


class BrokerError(Unavailable):
    """The broker does not answer; nothing was changed, try again."""


class BrokerCorrupt(BrokerError):
    """The broker's file is damaged, or was deleted or replaced under it."""


class ConsoleUnavailable(BrokerError):
    """This broker's client can't look at messages."""


class MessageNotFound(NotFound):
    """No message has this id in the state that this needs."""


class GroupNotFound(NotFound):
    """No consumer group of this name has ever subscribed to anything."""


class GroupInUse(Conflict):
    """A consumer of the group is working on messages; stop it first."""


class LeaseLost(Unavailable):
    """This process's lease on its worker id ran out; it issues no ids until it has one again."""


class ClockWentBack(Unavailable):
    """The clock of this machine went back; ids are issued again under another worker id, try again."""


class FailpointRaised(Unavailable):
    """A failpoint that the environment switched on raised here."""


def another(error: Exception) -> Exception:
    """Return an exception like this one: the same object can't be raised in several threads.

    It is made without its constructor, which may want anything.
    """
    made = type(error).__new__(type(error), *error.args)
    made.__dict__.update(error.__dict__)
    return made
