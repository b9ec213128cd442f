"""Commands of ours that run beside the console: what they get of its environment, and what they complain of."""

import os
from typing import Final

_TOLD: Final = 500  # characters


def environment() -> dict[str, str]:
    """Return ours without settings: those of the console are not those of the deployment's other services."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ORDERS_", "PROMETHEUS_"))}


def last_words(output: bytes) -> str:
    """Return the end of what a command said, in one line: why it ended."""
    return " ".join(output.decode(errors="replace").split())[-_TOLD:]
