"""What clients asked and were told, as histories of the drills have it: for checkers of others (docs/drills.md)."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lab.drill.nemesis.history import Entry

if TYPE_CHECKING:
    from lab.simulate.run import Outcome

_OPS: Final = {
    "/orders": "place",
    "/cancel": "cancel",
    "/pay": "pay",
    "/return": "return",
    "/return/shown": "look-at-return",
}
"""What calls of clients are called."""
_APART: Final = frozenset({"user", "order_id", "asked_as", "key"})
"""Of a body, what an entry has a place of its own for."""
TAKEN: Final = 202
"""The status that the broker is said to have answered who gave it a message."""


class Asked:
    """The calls of a run, in the order in which they were made."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Take what tells how long the run lasts by now."""
        self._seconds = seconds
        self.entries: list[Entry] = []

    def call(self, label: str, instance: str, path: str, body: Mapping[str, Any]) -> int:
        """Note a call of a client, as it is made; return its number. It has no answer until `told` or `unheard`."""
        order_id = body.get("order_id")
        entry = Entry(
            body["user"],
            _OPS[path],
            label,
            instance,
            self._seconds(),
            order_id=None if order_id is None else str(order_id),
            sent=_with_text_ids({name: value for name, value in body.items() if name not in _APART}),
            keyed=body.get("key") is not None,
        )
        return self._note(entry)

    def message(self, user: str, label: str, order_id: int) -> int:
        """Note that the broker is to be told that an order is paid, where there is no pay service; see `call`."""
        return self._note(Entry(user, "tell-paid", label, "broker", self._seconds(), order_id=str(order_id)))

    def _note(self, entry: Entry) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def told(self, number: int, status: int, answer: Mapping[str, Any]) -> None:
        """Note the answer to a call; what was refused is told as REST does, by its `type`."""
        body = {"type" if name == "kind" else name: value for name, value in answer.items()}
        self._change(number, answered=self._seconds(), status=status, body=_with_text_ids(body))

    def unheard(self, number: int, why: str) -> None:
        """Note that no answer to a call came."""
        self._change(number, why=why)

    def _change(self, number: int, **what: Any) -> None:
        self.entries[number] = replace(self.entries[number], **what)


def faults(outcome: "Outcome") -> Iterator[Mapping[str, Any]]:
    """Yield what struck in a run, as `lab.drill.nemesis.jepsen.operations` takes it."""
    events = map(json.loads, outcome.history.lines())
    moments = [event["at"] for event in events if event["what"] == "fault"]
    for fault, began in zip(outcome.struck, moments, strict=True):
        yield {
            "kind": fault.kind,
            "target": fault.place,
            "seconds": fault.lasts,
            "settings": {"trigger": str(fault.trigger), "nth": fault.nth},
            "began": began,
            "ended": began + fault.lasts,
        }


def _with_text_ids(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return it with ids as REST shows them: they are text."""
    return {name: str(value) if name.endswith("_id") and value is not None else value for name, value in body.items()}
