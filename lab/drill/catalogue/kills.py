"""kill -9 at every failpoint: of the process that is there, and of the one it is talking to."""

from functools import partial

from common.failpoints import POINTS
from common.registry import PARTICIPANTS
from lab.drill.catalogue.situations import SITUATIONS, Situation
from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun

_HELD_FOR = 0.5  # seconds that a process stands at a failpoint while the other one is killed
WORDS = {
    "order.half_sent": "half message on disk, timeout on its way or there, nothing else done",
    "order.timeout_scheduled": "timeout on disk, half message on its way or there, stock perhaps being taken",
    "order.deducted": "stock taken, timeout on disk, no order written",
    "order.before_commit": "order written, database not yet committed",
    "order.committed": "database committed, half message open",
    "order.before_resolve": "about to tell the broker, beside the answer, that the order stands",
    "order.resolved": "all done, client about to be answered or answered just now",
    "request.half_sent": "half message on disk, the request not taken in",
    "request.before_commit": "request written, database not yet committed",
    "request.committed": "request taken in and committed, its message not delivered",
    "request.before_resolve": "about to have the request delivered, beside the answer",
    "request.resolved": "request delivered, client about to be answered or answered just now",
    "request.received": "request delivered, nothing done",
    "request.handled": "order placed for a request, message not acknowledged",
    "purchase.half_sent": "half message on disk, no pieces taken",
    "purchase.before_commit": "half message on disk, pieces about to be taken",
    "purchase.committed": "pieces taken with the record, message not delivered",
    "purchase.before_resolve": "pieces taken, about to have the purchase delivered",
    "purchase.resolved": "purchase delivered, client about to be answered",
    "purchase_check.received": "check-back asked, nothing looked up",
    "purchase_check.fenced": "check-back has fenced the purchase beside the pieces, broker not answered",
    "selling.received": "purchase delivered, nothing done",
    "selling.handled": "order placed for a purchase, message not acknowledged",
    "sale.allotted": "stock has the sale own its pieces, nothing of it written down",
    "sale.opened": "the sale stands, the store of pieces does not know it, client not answered",
    "sale.closed": "the sale is over, its pieces still its own",
    "sale.returned": "a purchase is returned, the store of pieces does not know it",
    "sale.given_back": "the store of pieces has them back, nothing written down",
    "close.half_sent": "half message of the rollback on disk, order open",
    "close.before_commit": "order closed, database not yet committed",
    "close.committed": "order closed and committed, rollback not delivered",
    "close.before_resolve": "about to have the rollback delivered",
    "close.resolved": "rollback delivered, client not answered",
    "paying.committed": "payment committed, client not answered",
    "payment.received": "payment delivered, nothing done",
    "payment.handled": "order paid by a message, message not acknowledged",
    "attempt.stored": "a try to pay is written down, the provider not asked",
    "attempt.begun": "the provider has answered, nothing of it is written down",
    "event.stored": "what the provider said is on disk, nothing done about it",
    "event.handled": "money that came too late is to go back, the provider not asked",
    "success.half_sent": "half message of the payment on disk, payment open",
    "success.before_commit": "payment succeeded, database not yet committed",
    "success.committed": "payment succeeded and committed, message not delivered",
    "success.before_resolve": "about to have the payment told",
    "success.resolved": "payment told, order not answered",
    "refund.asked": "the provider was asked to send money back, its answer not written down",
    "refund.stored": "the refund is written down",
    "return.started": "order returned and its saga begun, client not answered",
    "return.claimed": "a return's saga claimed, no participant told",
    "return.answered": "one of those told of a return has answered, nothing of it written down",
    "return.before_commit": "a step of a return written down, database not yet committed",
    "return.recorded": "a step of a return written down, others under way",
    "return.put_off": "the money is on its way back, the return waits to look again",
    "timeout.received": "timeout delivered, nothing done",
    "timeout.handled": "order closed by its timeout, message not acknowledged",
    "check.received": "check-back asked, nothing looked up",
    "check.fenced": "check-back has fenced the transaction, broker not answered",
    "sweep.fenced": "sweep has fenced an orphan's transaction, stock not told",
    "sweep.settled": "sweep has told stock, nothing written down",
}
_OF_PARTICIPANT = {
    "deduct_received": "deduction asked for, nothing taken",
    "before_commit": "{name} taken, database not yet committed",
    "deducted": "{name} taken and committed, order not answered",
    "rollback_received": "rollback delivered, nothing given back",
    "released": "{name} given back and committed, message not acknowledged",
    "settled": "the sweep's word taken and committed, order not answered",
}
WORDS |= {f"{name}.{step}": words.format(name=name) for name in PARTICIPANTS for step, words in _OF_PARTICIPANT.items()}


def _kill_itself(run: DrillRun, point: str, situation: Situation) -> None:
    prepared = situation.prepare(run)
    pid = run.arm(situation.service, f"{situation.also}{point}=kill", **situation.settings)
    answer = situation.act(run, prepared)
    run.died(situation.service, pid, point)
    run.back(situation.service, pid)
    situation.told_when_killed(run, point, answer)
    situation.finish(run, prepared)
    run.settle(limit=run.limit + situation.lease)
    run.stands(*situation.left[point])


def _kill_the_other(run: DrillRun, point: str, situation: Situation) -> None:
    other = _talks_to(situation.service)
    prepared = situation.prepare(run)
    run.arm(situation.service, f"{situation.also}{point}=delay:{_HELD_FOR}", **situation.settings)
    with run.meanwhile(partial(situation.act, run, prepared)) as result:
        run.reached(situation.service, point)
        pid = run.kill(other)
        answer = result()
    run.back(other, pid)
    situation.finish(run, prepared)
    run.settle(limit=run.limit + situation.lease)
    run.stands(*situation.left_otherwise(answer))


def _talks_to(service: str) -> str:
    return "stock" if service == "order" else "order"


def _drills(point: str, situation: Situation) -> tuple[Drill, Drill]:
    service = situation.service
    other = _talks_to(service)
    own = Drill(
        f"kill-{point}",
        f"{service} is killed (kill -9)",
        f"at {point}: {WORDS[point]}",
        situation.holds,
        partial(_kill_itself, point=point, situation=situation),
        point=point,
    )
    across = Drill(
        f"kill-{other}-at-{point}",
        f"{other} is killed (kill -9) while {service} is",
        f"at {point}: {WORDS[point]}",
        situation.holds,
        partial(_kill_the_other, point=point, situation=situation),
        point=point,
    )
    return own, across


DRILLS: tuple[Drill, ...] = tuple(
    drill
    for both in zip(*(_drills(point, situation) for situation in SITUATIONS for point in situation.left), strict=True)
    for drill in both
)
POINTS_KILLED = frozenset(point for situation in SITUATIONS for point in situation.left)
assert POINTS_KILLED <= POINTS  # noqa: S101 - a name misspelt here would never be reached
