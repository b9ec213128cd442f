"""What a message about orders says: rollbacks, and whatever else names orders of one transaction."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from halfmessage.chunks import ROWS, by_weight
from halfmessage.mq.port import Message

K = TypeVar("K")
E = TypeVar("E", bound="OrderEvent")

_Snowflake = Annotated[int, Field(gt=0, lt=2**63), PlainSerializer(str, return_type=str)]


class OrderEvent(BaseModel):
    """Orders of one transaction; ids are strings in JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tx_id: _Snowflake
    order_ids: Annotated[tuple[_Snowflake, ...], Field(min_length=1)]

    @classmethod
    def from_body(cls, body: bytes) -> Self:
        """Read a message's body. Raise pydantic's `ValidationError`."""
        return cls.model_validate_json(body)

    def to_body(self) -> bytes:
        """Write a message's body."""
        return self.model_dump_json().encode()

    def to_message(self, topic: str, tag: str = "") -> Message:
        """Write the message that tells it: found again by any of its orders, its transaction in the properties."""
        keys = tuple(str(order_id) for order_id in self.order_ids)
        return Message(topic, self.to_body(), tag, keys, {"tx_id": str(self.tx_id)})

    def part(self, which: slice) -> Self:
        """Return what it says of some of its orders."""
        return self.model_copy(update={"order_ids": self.order_ids[which]})


def in_parts(events: Mapping[K, E], most: int = 0) -> Iterator[list[tuple[K, E]]]:
    """Cut what messages say into parts that name at most `most` orders (0: `ROWS`), each with the key of its message.

    A message that names more is in several parts: it is done with when the last of them is.
    """
    largest = most or ROWS
    pieces = (
        (key, event.part(slice(start, start + largest)))
        for key, event in events.items()
        for start in range(0, len(event.order_ids), largest)
    )
    return by_weight(pieces, lambda piece: len(piece[1].order_ids), largest)
