"""The model of an order's payment: consistent in every state, and no flaw planted in it goes unseen."""

import pytest

from tests.model.payments import MODEL
from tests.model.suite import ModelSuite

pytestmark = pytest.mark.P7


class TestPayments(ModelSuite):
    """Whatever happens, in whatever order: a paid order has its money, any other gets it back once."""

    model = MODEL
