"""Judges a run by its history and final state alone.

No code is shared with the services, nor with the other judges of drills (an import contract in setup.cfg holds it).
"""

from collections.abc import Callable, Iterator, Sequence

from lab.drill.nemesis import (
    rules_changing,
    rules_coupons,
    rules_money,
    rules_placing,
    rules_requests,
    rules_returns,
    rules_sales,
    rules_stock,
)
from lab.drill.nemesis.case import Case
from lab.drill.nemesis.history import Entry, Final

Rule = Callable[[Case], Iterator[str]]

RULES: tuple[Rule, ...] = (
    *rules_placing.RULES,
    *rules_requests.RULES,
    *rules_changing.RULES,
    *rules_returns.RULES,
    *rules_stock.RULES,
    *rules_coupons.RULES,
    *rules_money.RULES,
    *rules_sales.RULES,
)


def check(history: Sequence[Entry], final: Final, rules: Sequence[Rule] = RULES) -> list[str]:
    """Return every lie and every broken promise, in words; none: all answers were true."""
    case = Case(history, final)
    return [f"{rule.__name__}: {line}" for rule in rules for line in rule(case)]
