"""All mutants."""

from collections.abc import Collection

from lab.drill.mutants.catalogue import (
    auditing,
    closing,
    consoles,
    coupons,
    discovering,
    doors,
    flash,
    groups,
    lying,
    messages,
    money,
    ordering,
    outages,
    pages,
    participants,
    paying,
    places,
    placing,
    pricing,
    providers,
    requesting,
    returning,
    sagas,
    stocking,
    stories,
    sweeping,
    tracing,
    transactions,
    users,
    waits,
)
from lab.drill.mutants.mutant import Mutant
from ops.errors import CommandFailed

MUTANTS: tuple[Mutant, ...] = (
    *transactions.MUTANTS,
    *users.MUTANTS,
    *participants.MUTANTS,
    *placing.MUTANTS,
    *requesting.MUTANTS,
    *returning.MUTANTS,
    *sagas.MUTANTS,
    *pricing.MUTANTS,
    *ordering.MUTANTS,
    *closing.MUTANTS,
    *paying.MUTANTS,
    *money.MUTANTS,
    *providers.MUTANTS,
    *sweeping.MUTANTS,
    *auditing.MUTANTS,
    *stocking.MUTANTS,
    *coupons.MUTANTS,
    *flash.MUTANTS,
    *messages.MUTANTS,
    *doors.MUTANTS,
    *discovering.MUTANTS,
    *outages.MUTANTS,
    *pages.MUTANTS,
    *groups.MUTANTS,
    *places.MUTANTS,
    *waits.MUTANTS,
    *consoles.MUTANTS,
    *lying.MUTANTS,
    *stories.MUTANTS,
    *tracing.MUTANTS,
)


def named(names: Collection[str]) -> list[Mutant]:
    """Return the mutants of these names, in the order of the catalogue. Raise `CommandFailed`."""
    unknown = sorted(set(names) - {mutant.name for mutant in MUTANTS})
    if unknown:
        raise CommandFailed(f"No such mutant: {', '.join(unknown)}. `--list` shows them.")
    return [mutant for mutant in MUTANTS if mutant.name in names]
