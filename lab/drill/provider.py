"""The sandbox provider in drills: what it does wrong, and what its own books say."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from common.registry import SANDBOX
from lab.drill.drill_run import DrillRun

_PAGE: Final = 100  # sessions of the ledger that are read together

Charge = Mapping[str, Any]
"""Money that the provider took, as its ledger tells it."""
Money = tuple[int, str]
"""Minor units, and their currency."""


@contextmanager
def doing_wrong(run: DrillRun, words: str, *, longest: float = 1.0, **faults: float) -> Iterator[None]:
    """Have the provider do wrong while the body runs, and nothing afterwards; recovery is counted from there."""
    run.sut.admin.put(SANDBOX, "/faults", {"seed": 7, "longest": longest, **faults})
    run.fault(words)
    try:
        yield
    finally:
        run.sut.admin.put(SANDBOX, "/faults", {})
    run.mended("the provider does nothing wrong any more")


def taken(run: DrillRun) -> defaultdict[str, list[Charge]]:
    """Return what the provider took, by order, as its own ledger says."""
    found: defaultdict[str, list[Charge]] = defaultdict(list)
    query: dict[str, Any] = {"limit": str(_PAGE)}
    while True:
        page = run.sut.admin.get(SANDBOX, "/ledger", **query)
        for session in page["items"]:
            found[session["payment_id"]] += session["charges"]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def still_has(charges: Iterable[Charge]) -> list[Money]:
    """Return what the provider still has of what it took."""
    return [(one["amount"], one["currency"]) for one in charges if "done" not in _refunds(one)]


def asked_back_twice(charges: Iterable[Charge]) -> int:
    """Return how many charges were asked back by several keys, or sent back twice."""
    return sum(len(_refunds(one)) > 1 for one in charges)


def _refunds(charge: Charge) -> list[str]:
    """Return the states of what was asked back of a charge, by key."""
    return [refund["state"] for refund in charge["refunds"]]
