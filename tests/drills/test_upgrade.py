"""An upgrade of RocketMQ, as users of the default version make it; the others: ./scripts/drill --all --real."""

import pytest

from ops import versions
from tests.drills.conftest import Play

pytestmark = [
    pytest.mark.drill,
    pytest.mark.in_turn,
    pytest.mark.timeout(600),
]  # it starts servers of its own, of either version


def test_upgrade_to_the_default(drill: Play) -> None:
    """What the oldest RocketMQ stored is settled by the one that new stacks run."""
    drill(f"upgrade-to-{versions.DEFAULT}")
