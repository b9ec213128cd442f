"""The contract of participants, written once.

A participant's test says what the contract has to know of it, and has the rest from here::

    class TestStock(ParticipantContract):
        case = Pieces()
"""

from importlib import import_module
from typing import Any

from tests.contract.participants.case import Case
from tests.contract.participants.contract import ParticipantContract

__all__ = ["Case", "ParticipantContract", "wanted_of"]


def wanted_of(name: str) -> dict[str, Any]:
    """Return what an order may want of a participant, as its contract's test says (`test_<name>_participant.py`)."""
    tests = vars(import_module(f"tests.contract.test_{name}_participant")).values()
    contracts = (one for one in tests if isinstance(one, type) and issubclass(one, ParticipantContract))
    (case,) = (one.case for one in contracts if one is not ParticipantContract)
    wanted: dict[str, Any] = case.body(case.last)
    return wanted
