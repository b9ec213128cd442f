"""Every interleaving of two purchases in a flash sale, whose store may lose what it was told last, or everything.

Two buyers, each with a transaction of its own, want one piece each. What is in rows is never lost. What matters is
what a buyer is told, that no more is sold than there is, and that in the end the store counts what the rows say.

    python -m tests.model.flash             explores the scenarios
    python -m tests.model.flash --mutants   plants one flaw at a time, and says how it is caught
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

from tests.model.exploring import Model, Mutant, No, Scenario

Steps = Iterator[tuple[str, "World"]]


class Store(NamedTuple):
    """What Redis knows: records (- committed aborted), purchases (- taken held returned), and counts."""

    records: tuple[str, str] = ("-", "-")
    purchases: tuple[str, str] = ("-", "-")
    pieces: int = 0
    is_ready: bool = True


EMPTY = Store(is_ready=False)
NONE = ("-", "-")


class World(NamedTuple):
    """The store and its copy on disk, the broker, the rows, and who is at work; pairs are (first, second purchase)."""

    quantity: int = 1
    may_lose: int = 1  # so often the store loses something
    by_hand: int = 0  # so often it is rebuilt though it lost nothing
    store: Store = Store()
    disk: Store = Store()
    buys: tuple[str, str] = ("start", "start")  # start begun taken refused acked over
    told: tuple[str, str] = NONE  # - 202 no
    ages: tuple[str, str] = ("young", "young")  # young; late: past ANSWER_WITHIN; old: past TAKE_WITHIN
    halves: tuple[str, str] = NONE  # flash_purchase: - half ready parked dropped done
    rows: tuple[str, str] = NONE  # - held released refused void
    untold: tuple[bool, bool] = (False, False)  # the store is still to be told of the row
    is_stale: bool = False  # the store has lost something, and was not rebuilt since
    rebuilding: tuple[str, str] | None = None  # the rows as they were when they were read
    resumed: bool = False
    broken: str = ""


def _put(pair: tuple[str, str], at: int, value: str) -> tuple[str, str]:
    return (value, pair[1]) if at == 0 else (pair[0], value)


def steps(world: World, no: No) -> Steps:
    """Yield all that can happen next."""
    for at in (0, 1):
        if at == 0 or "one buyer" not in no:
            yield from _ending(world, no, at)
            yield from _buying(world, no, at)
            yield from _message(world, no, at)
            yield from _row(world, no, at)
    yield from _losing(world)
    yield from _rebuilding(world, no)


def _ending(world: World, no: No, at: int) -> Steps:
    """Yield what may happen to a buyer's process at any time."""
    buy, age = world.buys[at], world.ages[at]
    if buy != "start" and age != "old" and "no lateness" not in no:
        yield "time passes", world._replace(ages=_put(world.ages, at, "late" if age == "young" else "old"))
    if buy not in {"start", "over"} and "no process is killed" not in no:
        yield "killed", world._replace(buys=_put(world.buys, at, "over"))


def _buying(world: World, no: No, at: int) -> Steps:
    buy, age = world.buys[at], world.ages[at]

    def to(buy: str, after: World = world, told: str = "") -> World:
        return after._replace(buys=_put(after.buys, at, buy), told=_put(after.told, at, told or after.told[at]))

    if buy == "start":
        yield "purchase.half_sent", to("begun", world._replace(halves=_put(world.halves, at, "half")))
    elif buy == "begun":
        after, verdict = _take(world, no, at)
        yield "take", to(verdict, after)
        if verdict == "taken" and "no answer is lost" not in no:
            yield "take, and its answer is lost", to("over", after)
    elif buy == "refused":
        half = "ready" if "committed though nothing was taken" in no else "dropped"
        yield "rolled back", to("over", _resolved(world, at, half), "no")
    elif buy == "taken":
        if "told before the broker's word" in no:
            yield "answered", to("taken", told="202")
        in_time = age == "young" or "told however late" in no
        yield "committed", to("acked" if in_time else "over", _resolved(world, at, "ready"))
    elif buy == "acked":
        yield "answered", to("over", told="202")


def _resolved(world: World, at: int, half: str) -> World:
    """Return what a broker makes of it: a message that was dropped stays so, and its late commit is acknowledged."""
    return world._replace(halves=_put(world.halves, at, half)) if world.halves[at] == "half" else world


def _take(world: World, no: No, at: int) -> tuple[World, str]:
    store = world.store
    too_late = world.ages[at] == "old" and "a take of any age" not in no
    is_open = store.is_ready and store.records[at] == store.purchases[at] == "-"
    if too_late or not is_open or store.pieces >= world.quantity:
        return world, "refused"
    broken = "taken after its message was dropped" if world.halves[at] == "dropped" else world.broken
    records, purchases = _put(store.records, at, "committed"), _put(store.purchases, at, "taken")
    store = store._replace(records=records, purchases=purchases, pieces=store.pieces + 1)
    return world._replace(store=store, broken=broken), "taken"


def _message(world: World, no: No, at: int) -> Steps:
    """Yield what the broker, its check-back and the consumer of orders do with a message."""
    half, record, is_old = world.halves[at], world.store.records[at], world.ages[at] == "old"
    row = world.rows[at]

    def to(half: str, after: World = world) -> World:
        return after._replace(halves=_put(after.halves, at, half))

    if half == "half":
        if is_old:
            yield "broker gives up", to("parked")
        if record != "-":
            yield "check-back", to("ready" if record == "committed" else "dropped")
        elif is_old or "the young are fenced" in no:
            records = _put(world.store.records, at, "aborted")
            store = world.store if "the checker writes nothing" in no else world.store._replace(records=records)
            yield "check.fenced", to("dropped", world._replace(store=store))
    elif half == "parked" and not world.resumed:
        yield "asked about again", to("half", world._replace(resumed=True))
    elif half == "ready":
        if row != "-":
            yield "decided before", to("done")
        else:
            is_free = world.rows.count("held") < world.quantity
            row = "held" if is_free or "no guard in the rows" in no else "refused"
            yield "order placed", to("done", _decided(world, at, row))


def _decided(world: World, at: int, row: str) -> World:
    untold = (True, world.untold[1]) if at == 0 else (world.untold[0], True)
    return world._replace(rows=_put(world.rows, at, row), untold=untold)


def _row(world: World, no: No, at: int) -> Steps:
    """Yield what happens to a purchase that has a row, or should have one, and what the store is told of it."""
    row, purchase = world.rows[at], world.store.purchases[at]
    if row == "held" and "all are paid" not in no:
        yield "unpaid", _decided(world, at, "released")
    if world.untold[at]:
        untold = (False, world.untold[1]) if at == 0 else (world.untold[0], False)
        silent = row == "refused" and "a refused order keeps its piece" in no
        told = world if silent else world._replace(store=_settled(world.store, no, at, row))
        yield "told of it", told._replace(untold=untold)
        if "no answer is lost" not in no:
            yield "told, and its answer is lost", told
    if purchase == "taken" and "no sweep" not in no:
        if row in {"refused", "void"}:
            if "a refused order keeps its piece" not in no or row == "void":
                yield "swept", world._replace(store=_settled(world.store, no, at, row))
        elif row == "-" and world.ages[at] == "old" and world.halves[at] in {"parked", "dropped"}:
            if "the sweep asks nobody" in no:
                yield "swept", world._replace(store=_settled(world.store, no, at, "void"))
            else:
                yield "void", _decided(world, at, "void")


def _settled(store: Store, no: No, at: int, row: str) -> Store:
    """Return what a store is after `hold`, for a row that is held, or `give_back`."""
    purchase, to = store.purchases[at], "held" if row == "held" else "returned"
    counts = purchase in {"taken", "held"}
    change = 0
    if purchase == "returned":
        if to == "held" and "what is returned is held again" not in no:
            return store
        change = 1 if to == "held" else -("given back twice" in no)
    elif purchase == "-":
        if to == "held" and "what was forgotten is not counted" in no:
            return store
        if to == "returned" and "no tombstone" in no:
            return store
        change = int(to == "held")
    elif to == "returned":
        change = -int(counts)
    return store._replace(purchases=_put(store.purchases, at, to), pieces=store.pieces + change)


def _losing(world: World) -> Steps:
    if not world.may_lose:
        return
    if world.disk != world.store:
        yield "synced", world._replace(disk=world.store)
        yield "killed, set back to its disk", _lost(world, world.disk)
    if world.store != EMPTY:
        yield "emptied", _lost(world, EMPTY)


def _lost(world: World, store: Store) -> World:
    return world._replace(store=store, disk=store, may_lose=world.may_lose - 1, is_stale=True)


def _rebuilding(world: World, no: No) -> Steps:
    if world.rebuilding is None and "no rebuild" not in no and (world.is_stale or world.by_hand):
        by_hand = world.by_hand - (not world.is_stale)
        yield "rows read", world._replace(rebuilding=world.rows, is_stale=False, by_hand=by_hand)
    if world.rebuilding is not None:
        store = world.store
        if "a rebuild forgets what was decided" in no:
            store = store._replace(records=NONE)
        for at in (0, 1):
            if (row := world.rebuilding[at]) in {"held", "released"}:
                store = _settled(store, no, at, row)
        yield "rebuilt", world._replace(store=store._replace(is_ready=True), rebuilding=None)


def wrong(world: World, final: bool) -> str | None:
    """Return which promise a world breaks; `final`: nothing more can happen in it."""
    if world.broken:
        return world.broken
    pairs = tuple(zip(world.told, world.rows, world.halves, strict=True))
    broken = {
        "more is sold than there is": world.rows.count("held") > world.quantity,
        "the store counts fewer than none": world.store.pieces < 0,
        "told that nothing was bought, and it was": any(told == "no" and row == "held" for told, row, _ in pairs),
        "told that it is taken in, and it is lost": any(
            told == "202" and row == "-" and half in {"dropped", "parked"} for told, row, half in pairs
        ),
    }
    if final:
        held = world.rows.count("held")
        broken |= {
            "told that it is taken in, and never decided": any(told == "202" and row == "-" for told, row, _ in pairs),
            "the store counts what no row has": world.store.pieces > held,
            "the store has forgotten what rows have": world.store.pieces < held,
            "a message left open": any(half in {"half", "ready"} for half in world.halves),
        }
    return next((why for why, is_broken in broken.items() if is_broken), None)


_ALONE = frozenset({"one buyer"})
_CALM = frozenset({"all are paid", "no process is killed", "no answer is lost", "no lateness"})
SCENARIOS = (
    Scenario("two buyers for one piece", World(may_lose=0)),
    Scenario("one buyer, and a loss", World(by_hand=1), _ALONE),
    Scenario("one buyer, and two losses", World(may_lose=2), _ALONE),
    Scenario("two buyers for one piece, and a loss", World(), _CALM),
    Scenario("two buyers for two pieces, and a loss", World(quantity=2), _CALM),
    Scenario("one buyer, rebuilt by hand", World(may_lose=0, by_hand=1), _ALONE),
)
_ONE, _LOSS, _BOTH, _BY_HAND = 0, 1, 3, 5
MUTANTS = (
    Mutant("no guard in the rows", _BOTH),
    Mutant("told before the broker's word", _ONE),
    Mutant("told however late", _LOSS),
    Mutant("the young are fenced", _LOSS),
    Mutant("a take of any age", _LOSS),
    Mutant("the checker writes nothing", _ONE, frozenset({"a take of any age"})),
    Mutant("a rebuild forgets what was decided", _BY_HAND, frozenset({"a take of any age"})),
    Mutant("committed though nothing was taken", _LOSS),
    Mutant("a refused order keeps its piece", _BOTH),
    Mutant("given back twice", _ONE),
    Mutant("no tombstone", _LOSS),
    Mutant("what is returned is held again", _LOSS),
    Mutant("what was forgotten is not counted", _LOSS, frozenset({"all are paid"})),
    Mutant("no sweep", _ONE),
    Mutant("the sweep asks nobody", _LOSS, frozenset({"all are paid"})),
    Mutant("no rebuild", _LOSS),
)
MODEL = Model(steps, wrong, SCENARIOS, MUTANTS)


if __name__ == "__main__":
    sys.exit(MODEL.main(sys.argv[1:]))
