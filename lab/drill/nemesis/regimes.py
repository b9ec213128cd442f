"""The deployments that random runs play on: two processes of order and of stock, with clocks of several kinds."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.registry import SANDBOX
from lab.drill.profiles import PAIR, Profile
from ops.plan import Plan

BLOCK = 20
"""Runs whose seeds follow each other play on one deployment, so many of them."""

ORDER_INSTANCES = 2
PROCESSES = tuple(Plan(instances=PAIR.instances).processes)


def caller_of(process: str) -> str:
    """Return who calls a process: its link is named after both."""
    service = process.partition("-")[0]
    return {"order": "client", SANDBOX: "pay"}.get(service, "order")


@dataclass(frozen=True, slots=True)
class Regime:
    """`sweeps`: what was given up is settled by the sweep, so its interval counts for the time that is stated."""

    profile: Profile
    sweeps: bool = False

    @property
    def name(self) -> str:
        """The profile's."""
        return self.profile.name


_HASTY = {
    "check_first_after": 0.05,
    "check_interval": 0.1,
    "transaction_deadline": 0.15,
    "invisible_for": 1.0,  # less, and on a busy machine a batch comes again while it is still being handled
    "retry_first_after": 0.05,
    "retry_longest": 0.3,
}
_GIVES_UP = {"check_max": 3, "sweep_interval": 2.0, "sweep_grace": 1.0}

REGIMES = (
    Regime(Profile("steady", PAIR.extra, PAIR.instances)),
    Regime(Profile("hasty", {**PAIR.extra, **_HASTY}, PAIR.instances, pay_timeout=1.5)),
    Regime(Profile("gives-up", {**PAIR.extra, **_GIVES_UP}, PAIR.instances), sweeps=True),
)
"""As drills have it; checks so soon that they fence transactions under way, and orders that expire while they are
paid; and a broker that parks what was asked about three times, with a sweep every 2 s."""

BY_NAME: Mapping[str, Regime] = {regime.name: regime for regime in REGIMES}
