"""The model of flash sales: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from tests.model.flash import MODEL
from tests.model.suite import ModelSuite

pytestmark = pytest.mark.P2


class TestFlash(ModelSuite):
    """Whatever happens and is lost: no more is sold than there is, buyers are told the truth, the counts are right."""

    model = MODEL
