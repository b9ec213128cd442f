"""Every interleaving of one saga of two steps, run by two instances of its engine that may die at any step.

Calls travel: they may come late, twice, or after the instance that sent them is gone. A participant decides each
step behind its barrier. What matters is that every effect stands once where the run is done, that none stands where it
is undone, and that the run comes to an end whatever is killed.

    python -m tests.model.saga             explores the scenarios
    python -m tests.model.saga --mutants   plants one flaw at a time, and says how it is caught
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from tests.model.exploring import Model, Mutant, No, Scenario

T = TypeVar("T")
Steps = Iterator[tuple[str, "World"]]
Pair = tuple[str, str]
GONE = -1  # the sender of a call for whose answer no instance waits any more
SETTLED = frozenset({"undone", "untouched"})
FORWARD = frozenset({"done", "skipped"})


class Instance(NamedTuple):
    """One instance of the engine that holds, or held, the run: the log as it read it, and what it has sent."""

    epoch: int
    state: str
    log: Pair
    sent: Pair = ("", "")  # "" do undo
    answers: Pair = ("", "")


class Call(NamedTuple):
    """A call on its way."""

    step: int
    direction: str  # do undo
    sender: int


class World(NamedTuple):
    """The log, the instances, the calls under way, and the participants; pairs are (first, second step)."""

    is_parallel: bool = False
    crashes: int = 1
    slow: int = 1  # so often a lease runs out under an instance that is alive
    timeouts: int = 1  # so often an instance waits no longer for an answer; the call goes on
    twice: int = 1  # so often a call comes twice
    by_hand: int = 0  # so often an operator gives up or skips
    state: str = "running"  # running back done undone given-up
    epoch: int = 0
    is_owned: bool = False
    log: Pair = ("-", "-")  # - done refused skipped, then undone untouched
    instances: tuple[Instance | None, Instance | None] = (None, None)
    net: tuple[Call, ...] = ()
    barriers: Pair = ("-", "-")  # - done refused undone
    effects: tuple[int, int] = (0, 0)
    given_up: bool = False  # an operator was told that the run turns back


def _put(pair: tuple[T, T], at: int, value: T) -> tuple[T, T]:
    return (value, pair[1]) if at == 0 else (pair[0], value)


def _possible(world: World, log: Pair, step: int) -> bool:
    """Tell whether a step may have been sent, going by the log."""
    return step == 0 or world.is_parallel or log[0] in FORWARD


def _turned(world: World, no: No, log: Pair) -> Pair:
    """Return the log of a run that turns back: what can't have been sent needs no compensation."""
    for step in (0, 1):
        recorded = log[step] == "done"
        untouched = log[step] == "-" and not _possible(world, log, step)
        if "only what is recorded as done is undone" in no:
            untouched = not recorded
        if log[step] == "refused" and "a refused step is not undone" in no:
            untouched = True
        if log[step] == "skipped" and "a skipped step is not undone" in no:
            untouched = True
        if untouched:
            log = _put(log, step, "untouched")
    return log


def steps(world: World, no: No) -> Steps:
    """Yield all that can happen next."""
    for at in (0, 1):
        yield from _claiming(world, no, at)
        if (instance := world.instances[at]) is not None:
            yield from _ending(world, at, instance)
            yield from _sending(world, no, at, instance)
            yield from _recording(world, no, at, instance)
    for call in set(world.net):
        yield from _travelling(world, no, call)
    yield from _operator(world, no)


def _claiming(world: World, no: No, at: int) -> Steps:
    is_over = world.instances[at] is not None or world.state not in {"running", "back"}
    if is_over or ("one instance" in no and at == 1) or ("no sweep" in no and world.epoch > 0):
        return
    if not world.is_owned or world.slow:
        slow = world.slow - world.is_owned
        epoch = world.epoch + ("a claim is no compare-and-set" not in no or world.epoch == 0)
        holder = Instance(epoch, world.state, world.log)
        after = world._replace(epoch=epoch, is_owned=True, slow=slow)
        yield "saga.claimed", after._replace(instances=_put(after.instances, at, holder))


def _ending(world: World, at: int, instance: Instance) -> Steps:
    if world.crashes:
        is_owned = world.is_owned and instance.epoch != world.epoch
        yield "killed", _gone(world, at)._replace(crashes=world.crashes - 1, is_owned=is_owned)


def _gone(world: World, at: int) -> World:
    net = tuple(sorted(call._replace(sender=GONE) if call.sender == at else call for call in world.net))
    return world._replace(instances=_put(world.instances, at, None), net=net)


def _sending(world: World, no: No, at: int, instance: Instance) -> Steps:
    direction = "do" if instance.state == "running" else "undo"
    for step in (0, 1):
        if instance.sent[step] or not _is_ready(world, no, instance, step):
            continue
        after = _set(world, at, instance._replace(sent=_put(instance.sent, step, direction)))
        yield f"{direction} sent", after._replace(net=tuple(sorted((*world.net, Call(step, direction, at)))))


def _is_ready(world: World, no: No, instance: Instance, step: int) -> bool:
    if instance.state == "running":
        known = "a step does not wait for what it needs" in no or _possible(world, instance.log, step)
        return instance.log[step] == "-" and known
    behind = step == 0 and not world.is_parallel and "undone in the order of doing" not in no
    return instance.log[step] not in SETTLED and (not behind or instance.log[1] in SETTLED)


def _set(world: World, at: int, instance: Instance) -> World:
    return world._replace(instances=_put(world.instances, at, instance))


def _recording(world: World, no: No, at: int, instance: Instance) -> Steps:
    for step in (0, 1):
        if answer := instance.answers[step]:
            log = _put(instance.log, step, answer)
            state = instance.state
            if answer == "refused":
                state, log = "back", _turned(world, no, log)
            yield "saga.recorded", _recorded(world, no, at, _over(state, log, no), log)
    if instance.state == "running" and "deadline" in no:
        log = _turned(world, no, instance.log)
        yield "saga.turned", _recorded(world, no, at, _over("back", log, no), log)


def _over(state: str, log: Pair, no: No) -> str:
    if state == "running":
        enough = any if "done when one branch is" in no else all
        return "done" if enough(each in FORWARD for each in log) else state
    return "undone" if all(each in SETTLED for each in log) else state


def _recorded(world: World, no: No, at: int, state: str, log: Pair) -> World:
    instance = world.instances[at]
    assert instance is not None
    if instance.epoch != world.epoch and "records are not fenced" not in no:
        return _gone(world, at)
    after = world._replace(state=state, log=log)
    if state not in {"running", "back"}:
        return _gone(after, at)._replace(is_owned=False)
    if state != instance.state:  # what it has sent forward goes on without it
        after = _gone(after, at)
        return _set(after, at, Instance(instance.epoch, state, log))
    step = next(step for step in (0, 1) if log[step] != instance.log[step])
    answered = instance._replace(log=log, sent=_put(instance.sent, step, ""), answers=_put(instance.answers, step, ""))
    return _set(after, at, answered)


def _travelling(world: World, no: No, call: Call) -> Steps:
    rest = list(world.net)
    rest.remove(call)
    others = tuple(rest)
    if call.sender == GONE:
        yield "lost", world._replace(net=others)
    elif world.timeouts:
        net = tuple(sorted((*others, call._replace(sender=GONE))))
        yield "given no answer", _answered(world._replace(net=net, timeouts=world.timeouts - 1), call, "")
    for name, answer, after in _decided(world, no, call):
        yield name, _answered(after._replace(net=others), call, answer)
        if world.twice:
            net = tuple(sorted((*others, call._replace(sender=GONE))))
            yield f"{name}, and it comes again", _answered(after._replace(net=net, twice=world.twice - 1), call, answer)


def _answered(world: World, call: Call, answer: str) -> World:
    """Tell the sender; nothing is an answer that got lost, after which it sends again."""
    if call.sender == GONE:
        return world
    instance = world.instances[call.sender]
    assert instance is not None
    sent = instance.sent if answer else _put(instance.sent, call.step, "")
    heard = instance._replace(sent=sent, answers=_put(instance.answers, call.step, answer))
    return _set(world, call.sender, heard)


def _decided(world: World, no: No, call: Call) -> Iterator[tuple[str, str, World]]:
    """Yield what a participant answers, behind its barrier, and the world after it."""
    barrier = world.barriers[call.step]

    def to(decided: str, change: int = 0) -> World:
        effects = _put(world.effects, call.step, world.effects[call.step] + change)
        return world._replace(barriers=_put(world.barriers, call.step, decided), effects=effects)

    if call.direction == "do":
        repeated = barrier == "done" and "a step is done whenever it comes" in no
        if barrier == "-" or repeated or (barrier == "undone" and "no suspension" in no):
            yield "done", "done", to("done", 1)
            if call.step == 1 and barrier == "-":
                yield "refused", "refused", to("-" if "a refusal is not kept" in no else "refused")
        elif barrier == "done":
            yield "done before", "done", world
        else:
            yield "refused before", "refused", world
    elif barrier == "done":
        yield "undone", "undone", to("undone", -1)
    elif barrier == "undone":
        yield "undone before", "undone", to("undone", -("a compensation is done whenever it comes" in no))
    elif "null compensation has an effect" in no:
        yield "undone", "undone", to("undone", -1)
    else:
        yield "nothing to undo", "undone", world if "null compensation leaves no record" in no else to("undone")


def _operator(world: World, no: No) -> Steps:
    if not world.by_hand or world.state not in {"running", "back"}:
        return
    fenced = world.epoch + ("an operator's word leaves the epoch" not in no)
    told = world._replace(epoch=fenced, by_hand=world.by_hand - 1, is_owned=fenced == world.epoch and world.is_owned)
    if world.state == "back":
        yield "given up", told._replace(state="given-up", is_owned=False)
        return
    log = _turned(world, no, world.log)
    yield "given up", told._replace(state=_over("back", log, no), log=log, given_up=True)
    for step in (0, 1):
        if world.log[step] == "-" and _possible(world, world.log, step):
            log = _put(world.log, step, "skipped")
            yield "skipped", told._replace(state=_over("running", log, no), log=log)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    first, second = world.effects
    broken = {
        "a step took effect twice": max(world.effects) > 1,
        "undone what was not done": min(world.effects) < 0,
        "a step stands without what it needs": not world.is_parallel
        and second > 0
        and first == 0
        and world.log[0] != "skipped",
        "told that the run turns back, and it ended as done": world.given_up and world.state == "done",
    }
    if final:
        missing = any(log != "skipped" and not effect for log, effect in zip(world.log, world.effects, strict=True))
        broken |= {
            "a run left open": world.state in {"running", "back"},
            "done, and a step has no effect": world.state == "done" and missing,
            "undone, and a step's effect stands": world.state == "undone" and any(world.effects),
        }
    return next((why for why, is_broken in broken.items() if is_broken), None)


_DEADLINE = frozenset({"deadline"})
SCENARIOS = (
    Scenario("one after the other", World()),
    Scenario("one after the other, with a deadline", World(twice=0), _DEADLINE),
    Scenario("two branches", World(is_parallel=True, crashes=0, timeouts=0)),
    Scenario("an operator gives up or skips", World(by_hand=1, twice=0)),
    Scenario("one instance, killed twice", World(crashes=2, slow=0, by_hand=1), frozenset({"one instance"})),
)
_PLAIN, _LATE, _BRANCHES, _OPERATOR = 0, 1, 2, 3
MUTANTS = (
    Mutant("a step is done whenever it comes", _PLAIN),
    Mutant("a compensation is done whenever it comes", _PLAIN),
    Mutant("null compensation has an effect", _LATE),
    Mutant("null compensation leaves no record", _LATE),
    Mutant("no suspension", _LATE),
    Mutant("records are not fenced", _LATE),
    Mutant("a claim is no compare-and-set", _LATE),
    Mutant("an operator's word leaves the epoch", _OPERATOR),
    Mutant("only what is recorded as done is undone", _LATE),
    Mutant("a refused step is not undone", _PLAIN, frozenset({"a refusal is not kept"})),
    Mutant("a skipped step is not undone", _OPERATOR),
    Mutant("done when one branch is", _BRANCHES),
    Mutant("a step does not wait for what it needs", _PLAIN),
    Mutant("undone in the order of doing", _LATE),
    Mutant("no sweep", _PLAIN),
)
MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
