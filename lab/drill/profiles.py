"""The deployments that drills play on: their settings, how many of each service run, and whether they are shared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ops import versions
from ops.child import Patience

_AT_ONCE = Patience(restart_longest=0.2)  # a process is killed by one drill after the other: that is no crash loop
_NOT_SOON = 3600.0  # seconds; what is to do nothing during a drill


@dataclass(frozen=True, slots=True)
class Profile:
    """How a deployment is set up.

    `megabytes`: its data lies on a disk of its own of that size, which can be filled. `rocketmq`: it has real servers
    of its own, which begin with this version. `console`: it has a console. `redis`: a Redis of its own
    counts the pieces of its flash sales, and can be emptied and set back.
    """

    name: str
    extra: Mapping[str, float]
    instances: Mapping[str, int] = field(default_factory=dict)
    pay_timeout: float = 600.0
    shared: bool = True
    megabytes: int | None = None
    rocketmq: str | None = None
    patience: Patience = _AT_ONCE
    console: bool = False
    redis: bool = False


_SHORT: Mapping[str, float] = MappingProxyType(
    {
        "check_first_after": 0.4,
        "check_interval": 0.4,
        "check_max": 1000,  # nothing may be parked: check-back alone has to settle what a fault left open
        "transaction_deadline": 1.0,
        "invisible_for": 1.5,
        "retry_first_after": 0.2,
        "retry_longest": 1.0,
        "max_deliveries": 1000,
        "sweep_interval": _NOT_SOON,  # and no sweep may do it instead
        "goods_cache": 0.1,
        "peer_timeout": 1.0,
        "poll_first_after": 0.3,
        "poll_longest": 1.0,
        "refund_first_after": 0.2,
        "refund_longest": 1.0,
    }
)

QUICK = Profile("quick", _SHORT)
"""One process of each service; what is repeated is repeated soon, and nothing is given up."""

WITH_CONSOLE = Profile("with-console", _SHORT, console=True)
"""The same, and a console."""

PIECES_IN_REDIS = Profile(
    "pieces-in-redis",
    {**_SHORT, "sweep_interval": 3.0, "sweep_grace": 1.0},
    shared=False,
    redis=True,
)
"""A Redis counts the pieces of flash sales; what it has of purchases that were refused is given back every 3 s."""

PAIR = Profile("pair", _SHORT, {"order": 2, "stock": 2})
"""Two processes of order and of stock."""

PAIR_ALONE = Profile("pair-alone", PAIR.extra, PAIR.instances, shared=False)
"""The same, just started: no other process has had a worker id."""

IMPATIENT = Profile(
    "impatient",
    {**_SHORT, "check_max": 3, "sweep_interval": 3.0, "sweep_grace": 1.0},
    shared=False,
)
"""A half message that no process answers for is parked after three checks; the sweep runs every 3 s."""

RESTORED = Profile("restored", {**_SHORT, "peer_timeout": 4.0, "transaction_deadline": 4.5}, shared=False)
"""Its files are restored from backups; it sweeps only when told to.

What is placed before a restore must be placed, on a busy machine too: the deadlines here are not the short ones.
"""

RESTORED_WITH_CONSOLE = Profile("restored-with-console", RESTORED.extra, shared=False, console=True)
"""The same, and a console."""

LONG_STOP = Profile(
    "long-stop",
    {**_SHORT, "sweep_interval": 2.0, "sweep_grace": 1.0, "record_retention": 5.0},
    pay_timeout=4.0,
    shared=False,
)
"""Records of transactions are kept for 5 s."""

UNFORGIVING = Profile("unforgiving", {**_SHORT, "max_deliveries": 4}, shared=False)
"""A message that fails four times is a dead letter."""

LONG_OUTAGE = Profile(
    "long-outage",
    {**_SHORT, "retry_first_after": 1.0, "retry_longest": 600.0, "max_deliveries": 16},
    pay_timeout=10.0,
    shared=False,
)
"""Retries grow and end as they do by default; orders fall due soon."""

SMALL_DISK = Profile("small-disk", _SHORT, shared=False, megabytes=48)
"""Everything on a small disk."""

SMALL_SERVERS = Profile("small-servers", _SHORT, shared=False, megabytes=400)
"""The same with RocketMQ, MariaDB and Redis on it, which take 165 MB before the first order."""

DEFAULTS = Profile("defaults", {}, pay_timeout=900.0, patience=Patience())
"""The default settings."""

EVERY_STATE = Profile(
    "every-state",
    {**_SHORT, "check_max": 3, "max_deliveries": 3, "sweep_interval": 3.0, "sweep_grace": 1.0},
    shared=False,
)
"""A broker that gives up soon on both half messages and deliveries."""

OLDEST_ROCKETMQ = Profile("oldest-rocketmq", UNFORGIVING.extra, shared=False, rocketmq=versions.KNOWN[0])
"""On servers of its own, whose RocketMQ is to be upgraded."""
