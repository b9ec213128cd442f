"""The kit that a participant is made of: what holds something for an order, each at most once (docs/protocol.md).

A participant brings its tables and an `Effect`: how something is taken for an order, and given back. From here come
the reservation's header with its tombstone, the consumer of rollbacks, the order service's word (`settle`), and the
internal REST calls with their client. `tests/contract/participant.py` is the contract that each participant passes.
"""
