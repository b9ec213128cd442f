"""Properties of the adapter's own, which travel with a message and are taken off again before anybody sees it."""

from typing import Final

GROUP: Final = "orders.group"  # who asks to be asked about a half message
PLAIN: Final = "orders.plain"  # a plain message sent as a transaction: committed, whichever producer is asked
EMPTY: Final = "orders.empty"  # RocketMQ refuses empty bodies
DELIVER_AT: Final = "orders.deliver_at"  # ms since the epoch: when a delayed message is really due
HOP_ENDS: Final = "orders.hop_ends"  # ms since the epoch: until when it was put off, of one that is due later than that
FIRST_ID: Final = "orders.first_id"  # the id that its sender got, the same after every hop
BORN_AT: Final = "orders.born_at"  # ms since the epoch: of its first sending
ONWARD: Final = "orders.onward_of"  # where the dead letter or parked half message lay that this one goes on for
OWN: Final = frozenset({GROUP, PLAIN, EMPTY, DELIVER_AT, HOP_ENDS, FIRST_ID, BORN_AT, ONWARD})
