"""What errors are in HTTP: our own as they say, the library's, which know nothing of it, by their kind."""

import pytest

from common.errors import Invalid, OrdersError, PeerUnavailable
from common.web.problems import Kind, kind_of
from halfmessage import errors as library
from halfmessage.errors import HalfMessageError
from halfmessage.tx.record import AlreadyAborted
from order.model import OrderPaid

UNAVAILABLE = Kind(503, "unavailable", "Unavailable", 1)
OUTCOME_UNKNOWN = Kind(503, "outcome-unknown", "Outcome unknown", 5)
NOT_FOUND = Kind(404, "not-found", "Not found")
CONFLICT = Kind(409, "conflict", "Conflict")
INTERNAL = Kind(500, "internal", "Internal error")

OF_LIBRARY = {
    "BelowZero": INTERNAL,
    "BrokerCorrupt": UNAVAILABLE,
    "BrokerError": UNAVAILABLE,
    "ClockWentBack": UNAVAILABLE,
    "CommitOutcomeUnknown": OUTCOME_UNKNOWN,
    "Conflict": CONFLICT,
    "ConsoleUnavailable": UNAVAILABLE,
    "DatabaseCorrupt": UNAVAILABLE,
    "DatabaseMoved": UNAVAILABLE,
    "DatabaseUnavailable": UNAVAILABLE,
    "DuplicateRow": INTERNAL,
    "FailpointRaised": UNAVAILABLE,
    "GroupInUse": CONFLICT,
    "GroupNotFound": NOT_FOUND,
    "HalfMessageError": INTERNAL,
    "LeaseLost": UNAVAILABLE,
    "MessageNotFound": NOT_FOUND,
    "MessageRefused": INTERNAL,
    "Misconfigured": INTERNAL,
    "NotFound": NOT_FOUND,
    "NotReleased": INTERNAL,
    "OutcomeUnknown": OUTCOME_UNKNOWN,
    "Overloaded": UNAVAILABLE,
    "RowRefused": INTERNAL,
    "Unavailable": UNAVAILABLE,
}


def test_every_error_of_the_library_is_listed_here() -> None:
    """A new one gets its status on purpose."""
    found = {name for name, one in vars(library).items() if isinstance(one, type) and issubclass(one, HalfMessageError)}
    assert found == OF_LIBRARY.keys() == set(library.__all__) - {"another"}


@pytest.mark.parametrize(("name", "kind"), OF_LIBRARY.items(), ids=OF_LIBRARY)
def test_an_error_of_the_library_is_told_by_its_kind(name: str, kind: Kind) -> None:
    """503 with the seconds to wait only where nothing was changed, or the check-back settles it."""
    assert kind_of(getattr(library, name)) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OrdersError, INTERNAL),
        (Invalid, Kind(422, "invalid", "Invalid request")),
        (PeerUnavailable, UNAVAILABLE),
        (AlreadyAborted, UNAVAILABLE),
        (OrderPaid, Kind(409, "order-paid", "Order paid")),
    ],
)
def test_our_own_say_it_themselves_or_have_it_from_their_kind(error: type[HalfMessageError], kind: Kind) -> None:
    """A service's conflict keeps the status, and has a slug and title of its own."""
    assert kind_of(error) == kind
