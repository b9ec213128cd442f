"""Orders as pages show them: lists, and one order with its story, each part of which may be silent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.errors import PeerUnavailable
from console.clients.services import Refused, Services
from console.service.looking import Silent
from console.story import Story, tell
from console.story.words import plain, times, when
from halfmessage.clock import from_rfc3339, now_ms
from halfmessage.errors import NotFound
from halfmessage.saga.model import OPEN, RunState, StepState

PAGE: Final = 25  # orders of a list
STATUSES: Final = ("created", "paid", "closed", "returned")

_ENDED_WELL: Final = frozenset({RunState.DONE, RunState.UNDONE})

Order = Mapping[str, Any]
"""What `GET /orders/{id}` answers."""


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A page of a list, and the cursor of the next one."""

    items: Sequence[Order]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class OneOrder:
    """An order (None: there is none, or it was not told) and its story; why what is missing is."""

    order: Order | None
    story: Story | None
    silent: Sequence[Silent]
    returned: Mapping[str, Any] | None = None
    """Its return, as `GET /orders/{id}/return` tells it; None: there is none, or it was not told."""

    @property
    def return_sentence(self) -> str | None:
        """Where its return is, what comes next and when; None: there is none, or it has done all that it was to do."""
        return None if self.returned is None else _where(self.returned)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it, so that there is no need to look again."""
        is_returning = self.returned is not None and self.returned["state"] in OPEN
        return not self.silent and not is_returning and self.story is not None and self.story.mood == "ended"


class Orders:
    """Asks the order service."""

    def __init__(self, services: Services) -> None:
        """Take the services."""
        self._services = services

    def own(self, token: str, *, status: str | None, cursor: str | None) -> OrderPage:
        """Return a page of the viewer's own orders, newest first. Raise as `Services.get` does."""
        return self._page("/orders", token, status=status, cursor=cursor)

    def anybodys(self, token: str, *, user: str | None, status: str | None, cursor: str | None) -> OrderPage:
        """Return a page of everybody's orders, or of one user's, to an admin. Raise as `Services.get` does."""
        return self._page("/admin/orders", token, user_id=user, status=status, cursor=cursor)

    def one(self, token: str, order_id: int, *, is_admin: bool) -> OneOrder:
        """Return an order and its story.

        Raise `NotFound` where the viewer may not see it, or nothing is left of it. An admin also sees what is left of
        an order that never came to be; while its timeline is not told, it is not known whether anything is.
        """
        silent: list[Silent] = []
        order: Order | None = None
        missing: NotFound | None = None
        try:
            order = self._services.get("order", f"/orders/{order_id}", token)
        except NotFound as error:
            missing = error
        except (PeerUnavailable, Refused) as error:
            silent.append(Silent(f"The order itself: {error.detail}"))
        try:
            entries = self._services.get("order", f"/orders/{order_id}/timeline", token)["entries"]
        except (PeerUnavailable, Refused) as error:
            if missing is not None and not is_admin:
                raise missing from error
            if silent:  # one service, one reason
                return OneOrder(None, None, [Silent(f"The order and what happened to it: {error.detail}")])
            return OneOrder(order, None, [Silent(f"What happened to it: {error.detail}")])
        returned = self._return_of(token, order, silent)
        story = tell(order, entries, order_id=str(order_id), now_ms=now_ms())
        return OneOrder(order, story, silent, returned)

    def _return_of(self, token: str, order: Order | None, silent: list[Silent]) -> Mapping[str, Any] | None:
        if order is None or order["status"] != "returned":
            return None
        try:
            return self._services.get("order", f"/orders/{order['order_id']}/return", token)
        except (NotFound, PeerUnavailable, Refused) as error:
            silent.append(Silent(f"Its return: {error.detail}"))
            return None

    def require(self, token: str, order_id: int) -> None:
        """Raise `NotFound` where the viewer has no such order, or as `Services.get` does."""
        self._services.get("order", f"/orders/{order_id}", token)

    def find(self, token: str, text: str) -> Sequence[Mapping[str, Any]]:
        """Return what the order service finds for an admin. Raise as `Services.get` does."""
        found: Sequence[Mapping[str, Any]] = self._services.get("order", "/admin/find", token, q=text)["found"]
        return found

    def pay(self, token: str, order_id: int, provider: str) -> str | None:
        """Pay an order through a provider; return where the customer has to go, None where it is paid.

        Raise as `Services.post` does.
        """
        return self._services.post("order", f"/orders/{order_id}/pay", token, {"provider": provider}).get("pay_url")

    def cancel(self, token: str, order_id: int) -> None:
        """Cancel an order. Raise as `Services.post` does."""
        self._services.post("order", f"/orders/{order_id}/cancel", token)

    def give_back(self, token: str, order_id: int, reason: str) -> None:
        """Return a paid order, all of it; again: the same. Raise as `Services.post` does."""
        self._services.post("order", f"/orders/{order_id}/return", token, {"reason": reason})

    def sweep(self, token: str) -> Mapping[str, Any]:
        """Have the sweep run now; return what it did, in orders. Raise as `Services.post` does."""
        return self._services.post("order", "/sweep", token)

    def _page(self, path: str, token: str, **query: str | None) -> OrderPage:
        answer = self._services.get("order", path, token, limit=PAGE, **query)
        return OrderPage(answer["items"], answer["next_cursor"])


def _where(run: Mapping[str, Any]) -> str | None:
    """Say in one sentence where a return is that has not ended well."""
    state = run["state"]
    if state in _ENDED_WELL:
        return None
    if state == RunState.GIVEN_UP:
        return f"Its return was given up ({plain(run['why'])}): nothing more is tried, and what is left is by hand."
    does = "Its return turns back" if state == RunState.UNDOING else "Its return goes on"
    step = next((one for one in run["steps"] if one["state"] == StepState.WAITING), None)
    if step is None:
        return f"{does}: nothing is left but to write down that it ended."
    again = step["next_try_at"]
    at = "as soon as a process of order has time" if again is None else when(from_rfc3339(again), now_ms())
    if not step["tries"]:
        return f"{does}: {plain(step['name'])} comes next, {at}."
    failed = f"{plain(step['name'])} failed {times(step['tries'])} ({plain(step['last_error'])})"
    return f"Its return does not get on: {failed}, and is tried again {at}, or now by an operator."
