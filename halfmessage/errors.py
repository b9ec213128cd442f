"""The error tree: drivers' and clients' exceptions are translated into it. No HTTP here, nor any other protocol."""

from collections.abc import Collection
from typing import Any

__all__ = [
    "BelowZero",
    "BrokerCorrupt",
    "BrokerError",
    "ClockWentBack",
    "CommitOutcomeUnknown",
    "Conflict",
    "ConsoleUnavailable",
    "DatabaseCorrupt",
    "DatabaseMoved",
    "DatabaseUnavailable",
    "DuplicateRow",
    "FailpointRaised",
    "GroupInUse",
    "GroupNotFound",
    "HalfMessageError",
    "LeaseLost",
    "MessageNotFound",
    "MessageRefused",
    "Misconfigured",
    "NotFound",
    "NotReleased",
    "OutcomeUnknown",
    "Overloaded",
    "RowRefused",
    "Unavailable",
    "another",
]


class HalfMessageError(Exception):
    """Something went wrong inside; the log has it under this request's id."""

    def __init__(self, detail: str | None = None, **members: Any) -> None:
        """Take what a user may read (the class's docstring unless told), and members that a machine may."""
        super().__init__(detail or (type(self).__doc__ or "").split("\n", 1)[0])
        self.members = members

    @property
    def detail(self) -> str:
        """What a user may read."""
        return str(self.args[0])


class Misconfigured(HalfMessageError):
    """A setting, a URL or an argument means nothing here."""


class NotFound(HalfMessageError):
    """There is nothing here."""


class Conflict(HalfMessageError):
    """The state of the resource does not allow that."""


class Unavailable(HalfMessageError):
    """Something that this call needs is down; nothing was changed, try again."""


class Overloaded(Unavailable):
    """More requests are waiting than can be served soon; nothing was changed, try again."""


class OutcomeUnknown(HalfMessageError):
    """The answer got lost on its way from the database; the check-back settles it, ask later."""


class MessageRefused(HalfMessageError):
    """The message can't be stored: too large, or not of text."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer; nothing was changed, try again."""


class DatabaseMoved(DatabaseUnavailable):
    """The database's file was moved, deleted or replaced while in use; nothing was changed. Restart the service."""


class DatabaseCorrupt(DatabaseUnavailable):
    """The database's file is damaged; nothing was changed. Stop the service, restore the file from a backup."""


class CommitOutcomeUnknown(OutcomeUnknown):
    """The answer got lost on its way from the database: look whether the change is there before repeating it."""


class DuplicateRow(HalfMessageError):
    """A row with this key exists already (a unique or primary key was hit)."""


class RowRefused(HalfMessageError):
    """The database refused a value that no check of ours had refused; nothing was changed."""


class BelowZero(HalfMessageError):
    """A CHECK constraint of the database refused the row."""


class NotReleased(HalfMessageError):
    """The database refuses to give back what some orders hold; all others were released."""

    def __init__(self, order_ids: Collection[int]) -> None:
        """Take these orders."""
        super().__init__()
        self.order_ids = frozenset(order_ids)


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
