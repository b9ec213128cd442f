"""A real RocketMQ, MariaDB and Redis on this machine, without Docker (docs/stack.md)."""

from ops.stack.stack import Stack

__all__ = ["Stack"]
