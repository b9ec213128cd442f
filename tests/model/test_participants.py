"""The model of several participants: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from tests.model.participants import MODEL
from tests.model.suite import ModelSuite

pytestmark = [pytest.mark.P2, pytest.mark.P3, pytest.mark.P6]


class TestParticipants(ModelSuite):
    """Whatever happens, in whatever order: each participant holds what an order that stands needs, and nothing else."""

    model = MODEL
