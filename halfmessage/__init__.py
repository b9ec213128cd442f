"""Transactional messages and reservations that survive crashes, on RocketMQ or on a file of SQLite.

    mq           brokers behind one port: `mq.factory.open_broker`
    tx           the record that decides how a transaction ended, the coordinator, the checker, group commit
    participant  what holds something for orders, each at most once: header, tombstone, effect
    db           transactions on any engine of SQLAlchemy
    ids          64-bit ids in time order, from worker ids leased from the database

Nothing is imported here, and nothing happens at import: take what you need from its module.
"""

__version__ = "0.1.0"
