"""What a drill is: what it breaks, where, what must hold, and on which deployment it plays."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lab.drill.profiles import QUICK, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.drill.drill_run import DrillRun


class ServerKind(StrEnum):
    """Which servers a drill needs."""

    EMBEDDED = "embedded"
    REAL = "real"
    BOTH = "both"


class Limit(StrEnum):
    """How long after the last fault everything may take to be settled: `SECONDS_MORE` above one interval of this."""

    CHECK = "one check interval"
    SWEEP = "one sweep"


SECONDS_MORE = 5.0


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill. `breaks`, `where` and `holds` are one line each, for a reader who knows the words of the README.

    `profile` is the deployment it plays on. `point`: the failpoint at which it strikes, if it strikes at one.
    """

    name: str
    breaks: str
    where: str
    holds: str
    play: "Callable[[DrillRun], None]"
    servers: ServerKind = ServerKind.BOTH
    profile: Profile = QUICK
    limit: Limit = Limit.CHECK
    point: str | None = None

    def plays_on(self, servers: ServerKind) -> bool:
        """Whether it has a meaning on embedded, or on real, servers."""
        return self.servers in {ServerKind.BOTH, servers}
