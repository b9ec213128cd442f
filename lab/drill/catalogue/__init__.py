"""Every drill, by theme, in the order in which they are listed."""

from lab.drill.catalogue import (
    backlog,
    broker,
    checkback,
    clock,
    console,
    database,
    disk,
    flash,
    full_batches,
    instances,
    kills,
    messages,
    money,
    money_races,
    races,
    redis,
    refusals,
    restore,
    stock,
    upgrade,
)
from lab.drill.drill import Drill, ServerKind
from ops.errors import CommandFailed

_THEMES = (
    kills,
    full_batches,
    checkback,
    stock,
    backlog,
    messages,
    races,
    money,
    money_races,
    broker,
    database,
    refusals,
    redis,
    flash,
    clock,
    console,
    disk,
    restore,
    instances,
    upgrade,
)
DRILLS: tuple[Drill, ...] = tuple(drill for theme in _THEMES for drill in theme.DRILLS)


def on(servers: ServerKind) -> list[Drill]:
    """Return the drills that have a meaning on such servers."""
    return [drill for drill in DRILLS if drill.plays_on(servers)]


def named(names: tuple[str, ...], servers: ServerKind) -> list[Drill]:
    """Return the drills with these names, in the order given. Raise `CommandFailed` for one that is not there."""
    known = {drill.name: drill for drill in DRILLS}
    for name in names:
        if name not in known:
            raise CommandFailed(f"There is no drill {name!r}: see `./scripts/drill --list`.")
        if not known[name].plays_on(servers):
            how = "add --real" if known[name].servers is ServerKind.REAL else "leave --real out"
            raise CommandFailed(f"{name} needs {known[name].servers} servers: {how}.")
    return [known[name] for name in dict.fromkeys(names)]
