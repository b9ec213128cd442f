"""RocketMQ 4's remoting protocol, through `rocketmq-client-python` 2.0.0 (ctypes, 2019) and `librocketmq`.

What that package gets wrong, and where it is guarded against, is told in docs/rocketmq4.md; why half messages stay
open the way they do, in docs/decisions/0015-half-messages-held-in-their-callback.md.

`library` finds the package · `wire` a message of ours as one of RocketMQ's and back · `levels` delays · `callbacks` the
edge where C calls Python · `desk` hands what C asks to threads of ours · `calls` what we ask of C, with a time limit ·
`halves` an open half message · `session` what one process has of a producer group · `primer` has brokers know it ·
`producer`, `consumer`, `console`, `ping` what runs on them · `broker` puts them together.
"""

from halfmessage.mq.rocketmq_remoting.broker import open_rocketmq4

__all__ = ["open_rocketmq4"]
