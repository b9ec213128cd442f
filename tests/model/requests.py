"""Every interleaving of one order that is submitted now and placed soon, by two consumers and its own client.

`tests.model.protocol` explores how an order is placed; here that is taken for granted: it is written whole or not at
all, and what was taken for it in vain comes back. What matters is who decides the request, and what its client is told.

    python -m tests.model.requests             explores the scenarios
    python -m tests.model.requests --mutants   plants one flaw at a time, and says how it is caught
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.exploring import Model, Mutant, No, Scenario

Steps = Iterator[tuple[str, "World"]]
_CONSUMERS = (0, 1)


class World(NamedTuple):
    """The broker, the order service's database, stock, and who is at work."""

    submit: str = "start"  # of the process that takes it in: start begun committed over
    told: str = "-"  # what its client heard: - 202 503
    half: str = "-"  # order_request: - half ready dropped parked done
    record: str = "-"  # of its transaction: - committed aborted
    row: str = "-"  # the request: - queued created refused
    consumers: tuple[str, str] = ("-", "-")  # - got placing held looking refusing told acked
    client: str = "idle"  # places the same key at once: idle held over
    by_request: int = 0  # orders
    by_client: int = 0
    pieces: int = 1  # in all
    stock: int = 1  # of them free
    is_old: bool = False

    @property
    def has_order(self) -> bool:
        """Whether the key is taken."""
        return self.by_request + self.by_client > 0


def steps(world: World, no: No) -> Steps:
    """Yield all that can happen next."""
    yield from _submitting(world, no)
    yield from _deciding(world, no)
    yield from _client(world, no)
    for number in _CONSUMERS:
        yield from _consuming(world, no, number)
    if world.row == "queued":
        yield "the request is too old", world._replace(is_old=True)


def _submitting(world: World, no: No) -> Steps:
    if world.submit == "start":
        sent = world._replace(half="half")
        if "a plain message" in no:
            sent = sent._replace(half="ready", row="queued")
        early = "202" if "told before it is committed" in no else "-"
        yield "request.half_sent", sent._replace(submit="begun", told=early)
        yield "broker down", world._replace(submit="over", told="503")
        yield "its answer lost", sent._replace(submit="over", told="503")
    elif world.submit == "begun":
        yield "killed", world._replace(submit="over")
        if world.record == "aborted":
            yield "fenced", world._replace(submit="over", told="503")
        else:
            row = world.row if world.row != "-" else "queued"
            yield "request.committed", world._replace(submit="committed", record="committed", row=row)
    elif world.submit == "committed":
        yield "killed", world._replace(submit="over")
        yield "answered", world._replace(submit="over", told="202")
        if world.half == "half":
            yield "request.resolved", world._replace(half="ready")


def _deciding(world: World, no: No) -> Steps:
    """Yield what the broker and its check-back do with an open half message."""
    if world.half != "half":
        return
    if "no giving up" not in no:
        yield "broker gives up", world._replace(half="parked")
    if world.record == "-":
        yield "check.fenced", world._replace(record="aborted", half="dropped")
    else:
        yield "check-back", world._replace(half="ready" if world.record == "committed" else "dropped")


def _client(world: World, no: No) -> Steps:
    if world.client == "idle" and "only the request" not in no and world.stock and not world.has_order:
        yield "client takes stock", world._replace(client="held", stock=world.stock - 1)
    elif world.client == "held":
        if world.has_order and "two orders of one key" not in no:
            yield "client drops out", world._replace(client="over", stock=world.stock + 1)
        else:
            yield "client's order", world._replace(client="over", by_client=world.by_client + 1)


def _consuming(world: World, no: No, number: int) -> Steps:
    state = world.consumers[number]

    def to(state: str, after: World = world) -> World:
        consumers = tuple(state if n == number else other for n, other in enumerate(after.consumers))
        return after._replace(consumers=consumers)  # type: ignore[arg-type]

    if state == "-":
        if world.half == "ready":
            early = "acknowledged before it is decided" in no
            yield "request.received", to("got", world._replace(half="done") if early else world)
        if world.row == "queued" and "no rescue" not in no:
            yield "rescued", to("got")
        return
    yield f"consumer {number} killed", to("-", _given_back(world) if state == "held" else world)
    if state == "got":
        looks = world.row == "queued"
        yield "request looked up", to(("looking" if world.is_old else "placing") if looks else "acked")
    elif state == "placing":
        if world.has_order and "two orders of one key" not in no:
            yield "its order is there", to("told")
        elif world.stock:
            yield "stock taken", to("held", world._replace(stock=world.stock - 1))
        else:
            yield "stock is short", to("looking")
    elif state == "looking":
        yield "first answer looked for", to("told" if world.has_order else "refusing")
    else:
        yield from ((name, to(*after)) for name, *after in _writing(world, no, state))


def _writing(world: World, no: No, state: str) -> Iterator[tuple[str, str, World]]:
    """Yield the step, the consumer's next state, and the world, of what decides the request and acknowledges it."""
    is_open = world.row == "queued"
    if state == "held":
        taken = world.has_order and "two orders of one key" not in no
        if "decided after its order is written" in no and not taken:
            yield "order written", "told", world._replace(by_request=world.by_request + 1)
        elif is_open and not taken:
            yield "order.committed", "acked", world._replace(row="created", by_request=world.by_request + 1)
        else:
            yield "order drops out", "-", world if "what drops out keeps its stock" in no else _given_back(world)
    elif state == "told":
        yield "request.created", "acked", world._replace(row="created") if is_open else world
    elif state == "refusing":
        wins = is_open or "a refusal asks nobody" in no
        yield "request.refused", "acked", world._replace(row="refused") if wins else world
    else:
        yield "request.handled", "-", world._replace(half="done") if world.half == "ready" else world


def _given_back(world: World) -> World:
    return world._replace(stock=world.stock + 1)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    broken = {
        "two orders of one key": world.by_request + world.by_client > 1,
        "refused, but its order stands": world.row == "refused" and world.by_request > 0,
        "created, but there is no order": world.row == "created" and not world.has_order,
        "told that nothing was taken in, and it was": world.told == "503" and world.row != "-",
        "told that it was taken in, and it never will be": world.told == "202" and world.record == "aborted",
    }
    if final:
        broken |= {
            "taken in and never decided": world.row == "queued",
            "told that it was taken in, and it is lost": world.told == "202" and world.row == "-",
            "stock held by no order": world.stock != world.pieces - world.by_request - world.by_client,
            "a message left open": world.half in {"half", "ready"},
        }
    return next((why for why, is_broken in broken.items() if is_broken), None)


SCENARIOS = (
    Scenario("submitted, and placed at once too", World()),
    Scenario("submitted alone", World(), frozenset({"only the request"})),
    Scenario("two in stock, and placed at once too", World(pieces=2, stock=2)),
    Scenario("nothing in stock", World(pieces=0, stock=0), frozenset({"only the request"})),
)
MUTANTS = (
    Mutant("a plain message", 1),
    Mutant("told before it is committed", 1),
    Mutant("acknowledged before it is decided", 1, frozenset({"no rescue", "no giving up"})),
    Mutant("no rescue", 1),
    Mutant("two orders of one key", 2),
    Mutant("decided after its order is written", 1),
    Mutant("a refusal asks nobody", 1),
    Mutant("what drops out keeps its stock", 1),
)
MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
