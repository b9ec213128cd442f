"""An outbox in your own database, `table://`: the same API without any broker.

rows      what is written: a message and its deliveries, claims by lease, retries, dead letters, purge
consumer  threads that look for what is due
console   looks at messages, sends dead ones again
broker    puts them together
"""
