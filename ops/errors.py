"""What a person at the command line can be told: one line that says what to do next."""

from common.errors import OrdersError

__all__ = ["AlreadyRunning", "CommandFailed", "CopiedDeployment", "NoDeployment", "NotInTime"]


class CommandFailed(OrdersError):
    """The command could not do what it was asked."""


class NoDeployment(CommandFailed):
    """There is no deployment in this data directory."""


class CopiedDeployment(CommandFailed):
    """The directory is a copy of one whose data is elsewhere: what it tells of is the original's."""


class AlreadyRunning(CommandFailed):
    """A supervisor runs this data directory already."""


class NotInTime(CommandFailed):
    """What was waited for did not happen in time."""
