"""What can be broken, and at which step: the drills among which somebody at the console chooses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from common.errors import Malformed


@dataclass(frozen=True, slots=True)
class Fault:
    """What can be broken at a step: the drill's name, what it breaks, and what must hold all the same."""

    drill: str
    breaks: str
    holds: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the protocol: the failpoint there, and where that is, in words."""

    point: str
    where: str
    faults: Sequence[Fault]


@cache
def steps() -> Sequence[Step]:
    """Return what can be broken where: `./scripts/render` wrote it."""
    told = json.loads(files("console").joinpath("faults.json").read_text(encoding="utf-8"))
    return [Step(step["point"], step["where"], [Fault(**one) for one in step["faults"]]) for step in told["steps"]]


def named(name: str) -> tuple[Step, Fault]:
    """Return what a drill breaks, and where. Raise `Malformed` where there is none of that name."""
    found = _by_name().get(name)
    if found is None:
        raise Malformed("There is no such drill: choose a step and a fault from the list. Nothing was broken.")
    return found


def known(name: str) -> tuple[Step, Fault]:
    """Return the same of a drill that was played once; of one that another release had, its name alone."""
    return _by_name().get(name) or (Step(name, "a drill that this release does not have", ()), Fault(name, "", ""))


@cache
def _by_name() -> Mapping[str, tuple[Step, Fault]]:
    return {fault.drill: (step, fault) for step in steps() for fault in step.faults}
