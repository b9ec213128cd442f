"""What goes wrong in sagas, as part of the library's tree."""

from halfmessage.errors import Conflict, HalfMessageError, Unavailable

__all__ = ["ClaimLost", "DefinitionChanged", "StateTooLarge", "StepRefused"]


class StepRefused(HalfMessageError):
    """The step can't be done, and trying again would change nothing: the saga turns back.

    Raised by a step's own code. Whatever else that raises is a failure, after which the step is tried again.
    """


class StateTooLarge(HalfMessageError):
    """What a saga is to remember is too large, or is no JSON."""


class ClaimLost(Unavailable):
    """Another instance of the engine, or an operator, has taken this run over; it is the one who goes on."""


class DefinitionChanged(Conflict):
    """The run was started under a definition that this engine does not have."""
