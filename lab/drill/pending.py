"""What is on its way in a deployment: messages that are not at rest, and orders that should be closed by now."""

import time

from halfmessage.mq.port import Broker, Console, State
from lab.drill.rows import read
from ops.deployment import Deployment
from ops.stack import tenant

_ROLLBACK_TOPIC = "order_rollback"
_AT_REST = frozenset({State.DONE, State.DELAYED})
_TOLD = 50  # of each state, the newest: whoever waits looks again, and RocketMQ takes 10 ms for each


def overdue(deployment: Deployment) -> list[str]:
    """Return the unpaid orders whose time is over."""
    now = int(time.time() * 1000)
    query = f"SELECT order_id FROM orders WHERE status = 'created' AND expires_at < {now}"  # noqa: S608 # nosec B608 - a number
    (found,) = read(deployment.database_url("order"), query)
    return [f"order {order_id} is overdue and open" for (order_id,) in found]


def messages(deployment: Deployment, broker: Broker) -> list[str]:
    """Return messages that are not at rest, of many some.

    Raise `BrokerError`; `ConsoleUnavailable` where nobody can tell.

    A message that waits for its time is at rest; a rollback is never sent to wait, so one that does failed before.
    RocketMQ lists neither what is being handled nor what waits: see `lab.drill.ledger.settle`.
    """
    look = console(deployment, broker)
    moving = [view for state in State if state not in _AT_REST for view in look.find(state=state, limit=_TOLD)]
    moving += look.find(topic=_ROLLBACK_TOPIC, state=State.DELAYED, limit=_TOLD)
    return [f"{v.message.topic} {v.message_id} of {','.join(v.message.keys)} is {v.state}" for v in moving]


def console(deployment: Deployment, broker: Broker) -> Console:
    """Return what looks at the messages of a deployment: RocketMQ's client can't."""
    servers = deployment.plan.servers
    return broker.console() if servers is None else tenant.console(servers, subscriptions=deployment.plan.subscriptions)
