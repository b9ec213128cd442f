"""A failing run made small: as few faults and orders as fail in the same way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from lab.simulate.plan import Plan

_MOST: Final = 200  # runs


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """Return the smallest plan found that fails; `fails` carries a plan out, and tells whether it fails the same way.

    Takes at most `_MOST` runs.
    """
    left = _MOST
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(plan):
            if left == 0:
                return plan
            left -= 1
            if fails(candidate):
                plan, is_smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans with less in them."""
    for place in range(len(plan.faults)):
        yield replace(plan, faults=[*plan.faults[:place], *plan.faults[place + 1 :]])
    if len(plan.wishes) > 1:
        for place in range(len(plan.wishes)):
            yield replace(plan, wishes=[*plan.wishes[:place], *plan.wishes[place + 1 :]])
    for place, wish in enumerate(plan.wishes):
        simpler = [replace(wish, then="")] if wish.then else []
        simpler += [replace(wish, coupon_id=None)] if wish.coupon_id else []
        simpler += [replace(wish, has_key=False)] if wish.has_key else []
        simpler += [replace(wish, scenario="card")] if wish.scenario != "card" else []
        simpler += [replace(wish, returns_after=None)] if wish.returns_after is not None else []
        simpler += [replace(wish, returns_twice=False)] if wish.returns_twice else []
        for one in simpler:
            yield replace(plan, wishes=[*plan.wishes[:place], one, *plan.wishes[place + 1 :]])
