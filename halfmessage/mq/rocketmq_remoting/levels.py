"""Delays in RocketMQ 4: eighteen levels and nothing between.

Source: messageDelayLevel in MessageStoreConfig.java,
https://github.com/apache/rocketmq/blob/rocketmq-all-5.2.0/store/src/main/java/org/apache/rocketmq/store/config/MessageStoreConfig.java
"""

_SECONDS = (1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200)
_TOO_LATE_BY_AT_MOST = 1000  # ms: the last hop may round up by as much


def level_for(remaining: int) -> int:
    """Return the level (from 1; 0 = at once) of the next hop for a message that is due in `remaining` ms.

    The first level that is long enough, if it makes the message at most a second late; else the longest that is too
    short, after which the message hops again: 15 minutes are two hops, and a message is never early.
    """
    if remaining <= 0:
        return 0
    shorter = 0
    for level, seconds in enumerate(_SECONDS, start=1):
        overshoot = seconds * 1000 - remaining
        if overshoot >= 0:
            return level if overshoot <= _TOO_LATE_BY_AT_MOST else shorter
        shorter = level
    return shorter
