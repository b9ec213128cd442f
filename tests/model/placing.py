"""Placing a batch, step by step as `order.service.placing.Placing.place` does it."""

from tests.model.aging import refused
from tests.model.exploring import No
from tests.model.world import CREATED, GONE, Pair, Steps, World, put

_NOTHING = ("nothing created", "nothing created")
_NOT_YET_RELEASED = frozenset({"dropped order not released", "dropped order released last"})
_BEFORE_COMMIT = frozenset({"start", "beginning", "half_sent", "waiting", "deducted"})


def placing(world: World, no: No) -> Steps:
    """Yield what the placing process may do next, dying included."""
    if world.scheduling == "at it":  # beside the half message and on; arrives even if its sender dies
        yield from _scheduling(world, no)
    if world.place == "done":
        return
    if world.key == "free" and world.place in _BEFORE_COMMIT:
        yield "another process takes the key", world._replace(key="taken")
    yield from _STEPS[world.place](world, no)
    if world.place != "start" and "no dying" not in no:
        yield "placing process dies", _over(world)


def _over(world: World, answers: Pair | None = None) -> World:
    return world._replace(place="done", verdicts=(), answers=answers or world.answers, half_written=False)


def _start(world: World, _no: No) -> Steps:
    yield "timeout on its way", world._replace(place="beginning", scheduling="at it")


def _beginning(world: World, no: No) -> Steps:
    yield "order.half_sent", world._replace(place="half_sent", half="half")
    if "no failing send" not in no:
        yield "begin raised", _over(world, _NOTHING)
        yield "begin raised, but arrived", _over(world, _NOTHING)._replace(half="half")


def _half_sent(world: World, _no: No) -> Steps:
    yield "stock.deduct called", world._replace(place="waiting", wire=world.wire + 1)


def _scheduling(world: World, no: No) -> Steps:
    yield "order.timeout_scheduled", world._replace(scheduling="done", timeout="delayed")
    if "no failing send" not in no:
        yield "send_at raised", world._replace(scheduling="failed")
        yield "send_at raised, but arrived", world._replace(scheduling="failed", timeout="delayed")


def _waiting(world: World, no: No) -> Steps:
    if "deducted" in world.verdicts and world.scheduling == "done":
        yield "order.deducted", world._replace(place="deducted")
    elif world.verdicts and world.scheduling == "done":
        yield "all refused", world._replace(place="dropping", verdicts=())
    if world.verdicts and world.scheduling == "failed":
        yield "timeout not scheduled", world._replace(place="aborting", verdicts=())
    unanswered = "dropping" if "ambiguous is failure" in no else "aborting"
    yield "stock.deduct not answered", world._replace(place=unanswered, verdicts=())


def _deducted(world: World, no: No) -> Steps:
    kept = [o for o in (0, 1) if world.verdicts[o] == "deducted" and not (o == 1 and world.key == "taken")]
    aborting = world._replace(place="aborting")
    yield "local transaction failed", aborting
    if "acknowledged before it is committed" in no:
        yield "acknowledged", world._replace(answers=("201", "201"))
    if (world.record in {"aborted", "expired"} and "no fence" not in no) or refused(world.stop == "over", no):
        yield "AlreadyAborted", _over(world, _NOTHING)
    elif not kept:
        yield "_NoneLeft", aborting
    elif world.verdicts[1] == "deducted" and 1 not in kept and world.own == "-" and not _NOT_YET_RELEASED & no:
        yield "_release dropped", world._replace(own="ready")
        if "no failing send" not in no:
            yield "_release dropped raised", aborting
            yield "_release dropped raised, but arrived", aborting._replace(own="ready")
    else:
        yield from _commit(world, no, kept)


def _commit(world: World, no: No, kept: list[int]) -> Steps:
    in_part = "commit part of a batch" in no and len(kept) > 1
    written = world._replace(record="committed", half_written=in_part)
    for order in kept[:1] if in_part else kept:
        written = written._replace(orders=put(written.orders, order, CREATED))
    yield "order.committed", written._replace(place="committed")
    if "no unknown commit" not in no:
        yield "CommitOutcomeUnknown: it committed", _unknown(written, no)
        yield "CommitOutcomeUnknown: it did not", _unknown(world, no)


def _unknown(world: World, no: No) -> World:
    if "unknown commit is a failure" in no:
        return world._replace(place="aborting")
    return _over(world, _NOTHING if "unknown commit is answered as failure" in no else ("unknown", "unknown"))


def _committed(world: World, _no: No) -> Steps:
    if world.half_written:
        yield "second order committed", world._replace(half_written=False, orders=put(world.orders, 1, CREATED))
        return
    yield "answered", world._replace(place="answered", answers=_answers(world))


def _answered(world: World, _no: No) -> Steps:
    resolved = world._replace(place="resolved")
    yield "order.resolved", resolved._replace(half="dropped" if world.half == "half" else world.half)
    yield "resolve raised", resolved


def _resolved(world: World, no: No) -> Steps:
    if "dropped order released last" in no and world.verdicts[1] == "deducted" and world.orders[1] == GONE:
        yield "_release dropped", _over(world)._replace(own="ready")
    else:
        yield "placing is over", _over(world)


def _answers(world: World) -> Pair:
    first, second = (
        "201" if order != GONE else "replayed" if verdict == "deducted" else "nothing created"
        for order, verdict in zip(world.orders, world.verdicts, strict=True)
    )
    return first, second


def _dropping(world: World, _no: No) -> Steps:
    yield "tx.drop", _over(world, _NOTHING)._replace(half="dropped" if world.half == "half" else world.half)
    yield "tx.drop raised", _over(world, _NOTHING)


def _aborting(world: World, _no: No) -> Steps:
    yield "tx.resolve(ABORTED)", _over(world, _NOTHING)._replace(half="ready" if world.half == "half" else world.half)
    yield "tx.resolve(ABORTED) raised", _over(world, _NOTHING)


_STEPS = {
    "start": _start,
    "beginning": _beginning,
    "half_sent": _half_sent,
    "waiting": _waiting,
    "deducted": _deducted,
    "committed": _committed,
    "answered": _answered,
    "resolved": _resolved,
    "dropping": _dropping,
    "aborting": _aborting,
}
