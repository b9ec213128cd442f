"""Which versions of RocketMQ `orders stack` can run."""

from ops.errors import CommandFailed

KNOWN = ("5.2.0", "5.3.3", "5.4.0", "5.5.0")  # oldest first
"""Those whose name server, broker, proxy and tools resolve completely from Maven; 5.3.0 to 5.3.2 and 5.5.1 do not."""
DEFAULT = "5.4.0"
"""What a new stack runs, and what `docker/` names. ops/stack/pom.xml says it too: a test compares."""
BEFORE_THERE_WAS_A_CHOICE = "5.2.0"
"""What stacks ran whose `stack.json` names none."""


def check(version: str) -> str:
    """Return a version that can be run. Raise `CommandFailed` for any other."""
    if version not in KNOWN:
        raise CommandFailed(
            f"RocketMQ {version!r} can't be fetched from Maven as a whole, or was not tried: take one of "
            f"{', '.join(KNOWN)}."
        )
    return version


def is_older(version: str, than: str) -> bool:
    """Whether one of `KNOWN` came before another."""
    return KNOWN.index(version) < KNOWN.index(than)
