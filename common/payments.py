"""What the message `payment_succeeded` says: which orders were paid, and which transactions placed them."""

from typing import Annotated, Self

from pydantic import Field, PlainSerializer, model_validator

from halfmessage.participant.event import OrderEvent

_TxId = Annotated[int, Field(gt=0, lt=2**63), PlainSerializer(str, return_type=str)]


class PaymentEvent(OrderEvent):
    """Orders whose payments succeeded in one transaction of pay's (`tx_id`).

    `placed_by`: for each of the orders the transaction that placed it, by which an order that is not there yet is told
    from one that never will be. `providers`: for each, who took the money.
    """

    placed_by: tuple[_TxId, ...]
    providers: tuple[str, ...]

    @model_validator(mode="after")
    def _is_one_of_each(self) -> Self:
        if not len(self.order_ids) == len(self.placed_by) == len(self.providers):
            raise ValueError("as many transactions and providers as orders")
        return self

    def part(self, which: slice) -> Self:
        """See `OrderEvent`."""
        members = {"order_ids": self.order_ids, "placed_by": self.placed_by, "providers": self.providers}
        return self.model_copy(update={name: of_each[which] for name, of_each in members.items()})
