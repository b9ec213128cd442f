"""The embedded broker: one SQLite file, used by several processes of one machine at once.

`schema` the tables · `file` the file and its faults · `writer` group commit · `reader` short reads · `wakeup` who
looks when · `messages`, `deliveries`, `checkback` the three ledgers in SQL · `producer`, `consumer`, `console`,
`housekeeping` what runs on them · `broker` puts them together.
"""

from halfmessage.mq.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
