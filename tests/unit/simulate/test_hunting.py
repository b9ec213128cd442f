"""Which runs come to what a planted bug changes."""

from dataclasses import replace

import pytest

from lab.drill.mutants.catalogue import named
from lab.simulate.hunting import may_show
from lab.simulate.plan import plan_of

PLAN = replace(plan_of(0), pays=False, wishes=[replace(plan_of(0).wishes[0], returns_after=None)])
WITH_RETURNS = replace(PLAN, wishes=[replace(PLAN.wishes[0], returns_after=1.0)])


@pytest.mark.parametrize(
    ("name", "without", "with_pay", "with_returns"),
    [
        ("record-not-written", True, True, True),
        ("second-charge-kept", False, True, False),
        ("refund-done-once-pay-was-told", False, False, True),
        ("saga-records-not-fenced", False, False, True),
    ],
)
def test_runs_that_come_to_it(name: str, without: bool, with_pay: bool, with_returns: bool) -> None:
    """Those of other services, and of returns, are not made in vain."""
    (mutant,) = named([name])
    plans = (PLAN, replace(PLAN, pays=True), WITH_RETURNS)
    assert [may_show(mutant, plan) for plan in plans] == [without, with_pay, with_returns]
