"""The contract of participants, written once.

A participant's test says what the contract has to know of it, and has the rest from here::

    class TestStock(ParticipantContract):
        case = Pieces()
"""

from tests.contract.participants.case import Case
from tests.contract.participants.contract import ParticipantContract

__all__ = ["Case", "ParticipantContract"]
