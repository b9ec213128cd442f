"""What is on its way in a deployment: messages that are not at rest, and orders that should be closed by now."""

import time

from common.registry import NEVER_DELAYED, PARTICIPANTS, SANDBOX
from halfmessage.errors import Unavailable
from halfmessage.mq.port import Broker, Console, State
from lab.judge.databases import UNTOLD, read
from lab.judge.judge import Judge
from ops import flash_sales
from ops.deployment import Deployment
from ops.errors import CommandFailed, NotInTime
from ops.stack import tenant
from ops.waiting import wait_for

_AT_REST = frozenset({State.DONE, State.DELAYED})
_TOLD = 50  # of each state, the newest: a wait looks again, and RocketMQ takes 10 ms for each


class Unsound(CommandFailed):
    """An invariant is broken in a deployment at rest."""

    def __init__(self, broken: list[str]) -> None:
        """Take the broken invariants, in words."""
        super().__init__("\n".join(broken))
        self.broken = broken


def settle(deployment: Deployment, broker: Broker, *, within: float = 60.0) -> None:
    """Wait until nothing is on its way. Raise `NotInTime`, or `Unsound` if an invariant is broken then.

    RocketMQ does not show a message that a consumer took and has not acknowledged. So there a broken invariant gets
    the time that is left to mend itself, as such a message may. So does one beside which something has come since the
    look whether all is at rest, as a poll's answer may at any time.
    """
    hides, judge = deployment.plan.servers is not None, Judge.of(deployment)
    broken: list[str] = []

    def at_rest() -> bool:
        nonlocal broken
        if unsettled(deployment, broker):
            return False
        broken = judge.wrong()
        return not broken or not (hides or unsettled(deployment, broker))

    late: NotInTime | None = None
    try:
        wait_for("every message to be at rest", at_rest, within=within)
    except NotInTime as error:
        late = error
    left = unsettled(deployment, broker) if late else []
    if late:
        broken = [] if left else judge.wrong()
    if broken:
        raise Unsound(broken)
    if late:
        raise NotInTime("\n".join([late.detail, *left])) from late


def unsettled(deployment: Deployment, broker: Broker) -> list[str]:
    """Return what is still on its way: messages not at rest, order requests, unpaid orders that are overdue, and money.

    Messages twice: what moves between the looks, from a message to money or the other way, is seen at one of them.
    """
    found = [*messages(deployment, broker), *requests(deployment), *overdue(deployment), *returns(deployment)]
    found += [*money(deployment), *sales(deployment)]
    return found or messages(deployment, broker)


def requests(deployment: Deployment) -> list[str]:
    """Return the order requests that wait: their rows tell, also while RocketMQ hides their message."""
    (found,) = read(deployment.database_url("order"), _QUEUED)
    return [f"order request {request_id} waits to be placed" for (request_id,) in found]


_QUEUED = f"SELECT request_id FROM order_requests WHERE state = 'queued' LIMIT {_TOLD}"  # noqa: S608 # nosec B608 - a number


def returns(deployment: Deployment) -> list[str]:
    """Return the returns that have not ended: money, pieces or coupons are on their way back."""
    (found,) = read(deployment.database_url("order"), _RETURNING)
    return [f"the return of order {order_id} is {state}" for order_id, state in found]


_RETURNING = f"SELECT sagas.key, state FROM sagas WHERE state IN ('running', 'undoing') LIMIT {_TOLD}"  # noqa: S608 # nosec B608 - a number


def returns_due(deployment: Deployment) -> int | None:
    """Return when the last of the returns that have not ended goes on (ms since the epoch); None: all have.

    A process that was killed has claimed its own until then; a step that failed waits.
    """
    ((((due_at,),)),) = read(deployment.database_url("order"), _GO_ON)
    return None if due_at is None else int(due_at)


_GO_ON = "SELECT MAX(due_at) FROM sagas WHERE state IN ('running', 'undoing')"


def sales(deployment: Deployment) -> list[str]:
    """Return what moves between flash sales, their orders and stock."""
    if "flash" not in deployment.plan.services:
        return []
    found = read(deployment.database_url("flash"), *_AT_FLASH)
    moving = [words.format(*row) for words, rows in zip(_AT_FLASH.values(), found, strict=True) for row in rows]
    return moving + purchases(deployment)


def purchases(deployment: Deployment) -> list[str]:
    """Return the purchases that took pieces and are no order yet: their store tells, RocketMQ may hide the message."""
    try:
        with flash_sales.opened(deployment) as opened:
            return [f"purchase {one} took its pieces, and is no order yet" for one in opened.under_way()[:_TOLD]]
    except Unavailable:
        return ["the store of pieces does not answer"]


_AT_FLASH = {
    "SELECT sale_id FROM sales WHERE state = 'opening'": "sale {} is being opened",
    "SELECT sale_id FROM sales WHERE state = 'closed'": "sale {} is closed and not done",
    "SELECT sale_id FROM sales WHERE heard < word AND state <> 'opening'": "stock has not heard what sale {} owns",
    "SELECT purchase_id FROM purchases WHERE fate = 'free'": "purchase {} is held by no order, and not returned",
    "SELECT purchase_id FROM purchases WHERE fate = 'returned' AND NOT told": "purchase {} comes back to its sale",
}


def untold(deployment: Deployment) -> list[str]:
    """Return what the next sweeps will tell participants: it is at rest until then."""
    (found,) = read(deployment.database_url("order"), _TO_CONFIRM)
    told = [f"{participant} is to be told that order {order_id} is {fate}" for order_id, participant, fate in found]
    for participant in set(PARTICIPANTS).intersection(deployment.plan.services):
        (found,) = read(deployment.database_url(participant), _UNVERIFIED)
        told += [f"{participant} is to be told of order {order_id}" for (order_id,) in found]
    return told


_TO_CONFIRM = f"SELECT order_id, participant, fate FROM settlements LIMIT {_TOLD}"  # noqa: S608 # nosec B608 - a number
_UNVERIFIED = f"SELECT order_id FROM reservations WHERE state = 'deducted' AND NOT verified LIMIT {_TOLD}"  # noqa: S608 # nosec B608 - a number


def overdue(deployment: Deployment) -> list[str]:
    """Return the unpaid orders whose time is over."""
    now = int(time.time() * 1000)
    query = f"SELECT order_id FROM orders WHERE status = 'created' AND expires_at < {now}"  # noqa: S608 # nosec B608 - a number
    (found,) = read(deployment.database_url("order"), query)
    return [f"order {order_id} is overdue and open" for (order_id,) in found]


def money(deployment: Deployment) -> list[str]:
    """Return the money that moves, the news of it, and what the sandbox has still to do or to tell.

    What a sweep will tell pay, as it is written down, is at rest.
    """
    if SANDBOX not in deployment.plan.services:
        return []
    callbacks, plans, taken = read(deployment.database_url(SANDBOX), *_AT_SANDBOX)  # first: from there it goes to pay
    *of_pay, heard, charges, tried = read(deployment.database_url("pay"), *_AT_PAY, _HEARD, _KNOWN_CHARGES, _TRIED)
    (begun,) = read(deployment.database_url(SANDBOX), "SELECT attempt_id FROM sessions")  # last: what came meanwhile
    (untold,) = read(deployment.database_url("order"), UNTOLD.format(participant="pay"))
    known = {charge_id for (charge_id,) in charges}
    of_pay[-1] = [row for row in of_pay[-1] if row not in untold]
    moving = [words.format(*row) for words, rows in zip(_AT_PAY.values(), of_pay, strict=True) for row in rows]
    heard_of = {event_id for (event_id,) in heard}  # of these a callback, sent again later and later, tells no news
    moving += [f"callback of event {one} waits to be sent" for (one,) in callbacks if str(one) not in heard_of]
    moving += [f"attempt {one} is to be begun at the sandbox" for (one,) in set(tried) - set(begun)]
    moving += [f"plan {plan_id} of the sandbox is to be done" for (plan_id,) in plans]
    return moving + [f"charge {one} is taken, and pay has not heard of it" for (one,) in taken if str(one) not in known]


def claimed_until(deployment: Deployment) -> int | None:
    """Return when pay looks again (ms since the epoch) at money that it has not heard of, or has to send back.

    None: at none. A process that was killed has claimed it until then.
    """
    if SANDBOX not in deployment.plan.services:
        return None
    (taken,) = read(deployment.database_url(SANDBOX), _TAKEN_BY)
    known, polls, refunds = read(deployment.database_url("pay"), _KNOWN_CHARGES, _POLLS, _REFUNDS)
    heard_of, next_poll = {str(one) for (one,) in known}, {int(one): int(at) for one, at in polls}
    unheard = [int(attempt_id) for charge_id, attempt_id in taken if str(charge_id) not in heard_of]
    times = [next_poll[one] for one in unheard if one in next_poll] + [int(at) for (at,) in refunds]
    return max(times, default=None)


_TAKEN_BY = "SELECT c.charge_id, s.attempt_id FROM charges AS c JOIN sessions AS s ON s.session_id = c.session_id"
_POLLS = "SELECT attempt_id, next_poll_at FROM attempts WHERE provider = 'sandbox' AND next_poll_at IS NOT NULL"
_REFUNDS = "SELECT next_try_at FROM charges WHERE state = 'refunding' AND next_try_at IS NOT NULL"
_HEARD = "SELECT event_id FROM payment_events WHERE provider = 'sandbox'"
_KNOWN_CHARGES = "SELECT charge_id FROM charges WHERE provider = 'sandbox'"
_TRIED = """
SELECT a.attempt_id FROM attempts AS a JOIN payments AS p ON p.order_id = a.order_id
WHERE a.provider = 'sandbox' AND a.state = 'open' AND p.state = 'open'
"""
_AT_PAY = {  # the last one: what is not confirmed
    "SELECT event_id FROM payment_events WHERE handled_at IS NULL": "event {} is stored and not handled",
    "SELECT charge_id, state FROM charges WHERE state IN ('refunding', 'refused')": "charge {} is {}",
    "SELECT order_id FROM payments WHERE state = 'succeeded' AND NOT known": "payment {} is not confirmed",
}
_AT_SANDBOX = (
    "SELECT event_id FROM callbacks WHERE state = 'waiting'",
    "SELECT plan_id FROM plans",
    "SELECT charge_id FROM charges",
)


def messages(deployment: Deployment, broker: Broker) -> list[str]:
    """Return messages that are not at rest, of many some.

    Raise `BrokerError`; `ConsoleUnavailable` where it can't be told.

    A message that waits for its time is at rest, but not on a topic of `NEVER_DELAYED`. RocketMQ lists neither what is
    being handled nor what waits: see `settle`.
    """
    look = console(deployment, broker)
    moving = [view for state in State if state not in _AT_REST for view in look.find(state=state, limit=_TOLD)]
    for topic in NEVER_DELAYED:
        moving += look.find(topic=topic, state=State.DELAYED, limit=_TOLD)
    return [f"{v.message.topic} {v.message_id} of {','.join(v.message.keys)} is {v.state}" for v in moving]


def console(deployment: Deployment, broker: Broker) -> Console:
    """Return what looks at the messages of a deployment: RocketMQ's client can't."""
    servers = deployment.plan.servers
    return broker.console() if servers is None else tenant.console(servers, subscriptions=deployment.plan.subscriptions)
