"""The witnesses: what each says of each step of the protocol."""

from collections.abc import Iterator

from console.story import of_paying
from console.story.model import Agreement
from console.story.reading import Facts, Half, Held, Holding
from console.story.testimony import BROKER, RECORD, ROW, Stand, Testimony, agreement
from console.story.words import names, plain

_OVER = frozenset({"closed", "returned"})
"""Statuses of an order that holds nothing any more."""


def witnesses_of(facts: Facts) -> list[Agreement]:
    """Return what there is to agree upon."""
    told = [agreement("Does the order stand?", _placed(facts))]
    if facts.status in _OVER:
        told[0] = agreement(f"Did the order stand before it was {facts.status}?", _placed(facts))
    if facts.status in {*_OVER, "none"}:
        told.append(agreement("Is nothing held for it any more?", _given_back(facts)))
    if of_paying.was_spoken_of(facts):
        told.append(agreement("Is it paid?", of_paying.testimonies(facts)))
    return told


def _placed(facts: Facts) -> Iterator[Testimony]:
    half = next((one for one in facts.halves if one.purpose == "placing"), None)
    if not facts.exists:
        undecided = half is not None and half.resolution is None
        yield Testimony(ROW, "no such order", Stand.OPEN if undecided else Stand.NO)
    else:
        yield Testimony(ROW, plain(facts.status), Stand.YES)
    record = facts.record_of("placing")
    dropped_out = record == "committed" and not facts.exists
    yield _record(record, half, dropped_out=dropped_out)
    yield _broker_on_placing(facts, half, dropped_out=dropped_out)
    for holding in facts.holdings:
        yield _holder_on_placing(facts, holding)


def _record(record: str | None, half: Half | None, *, dropped_out: bool) -> Testimony:
    if dropped_out:
        return Testimony(RECORD, "committed, without this order: it dropped out of its batch", Stand.NO)
    if record is not None:
        return Testimony(RECORD, plain(record), Stand.YES if record == "committed" else Stand.NO)
    if half is not None and half.resolution is None:
        return Testimony(RECORD, "none: not decided yet", Stand.OPEN)
    return Testimony(RECORD, "none: it was not needed, or is kept no more", Stand.ASIDE)


def _broker_on_placing(facts: Facts, half: Half | None, *, dropped_out: bool) -> Testimony:
    if BROKER in facts.silent:
        return Testimony(BROKER, "does not answer", Stand.OPEN)
    if half is None:
        return Testimony(BROKER, "keeps no half message of it any more", Stand.ASIDE)
    if half.resolution is None:
        words = "half message parked" if half.parked is not None else "half message open"
        return Testimony(BROKER, f"{words}: it has not heard how it ended", Stand.OPEN)
    if half.resolution == "commit":
        return Testimony(BROKER, "half message delivered: it does not stand", Stand.NO)
    if dropped_out:
        return Testimony(BROKER, "half message dropped: the others of its batch stand", Stand.ASIDE)
    return Testimony(BROKER, "half message dropped: it stands", Stand.YES)


def _holder_on_placing(facts: Facts, holding: Holding) -> Testimony:
    """Say what a participant has. Of an order that is closed, what was given back was there before."""
    words = {
        Held.HELD: "holds its part",
        Held.RELEASED: "held its part, and gave it back",
        Held.TOMBSTONE: "never held anything: a tombstone",
        Held.NOTHING: "has nothing of it",
        Held.SILENT: "does not answer",
    }
    return Testimony(plain(holding.name), words[holding.state], _stand_on_placing(facts, holding.state))


def _stand_on_placing(facts: Facts, held: Held) -> Stand:
    if held is Held.SILENT:
        return Stand.OPEN
    if not facts.exists:  # what it holds still, it has to hear of
        return Stand.OPEN if held is Held.HELD else Stand.NO
    if facts.status in _OVER:  # what it had nothing of, it may have forgotten
        return {Held.NOTHING: Stand.ASIDE, Held.TOMBSTONE: Stand.NO}.get(held, Stand.YES)
    if held is not Held.HELD and any(half.purpose == "closing" for half in facts.halves):
        return Stand.OPEN  # it is being closed while this is read
    return Stand.YES if held is Held.HELD else Stand.NO


def _given_back(facts: Facts) -> Iterator[Testimony]:
    words = f"{facts.status if facts.exists else 'no such order'}: nothing may be held"
    yield Testimony(ROW, words, Stand.YES)
    if facts.status != "returned":  # of a return no message tells: see order.service.returning
        yield _broker_on_giving_back(facts)
    for holding in facts.holdings:
        yield _holder_on_giving_back(facts, holding)


def _broker_on_giving_back(facts: Facts) -> Testimony:
    """Say how far the rollback is; where it was lost the sweep gives back, so that alone it decides nothing."""
    if BROKER in facts.silent:
        return Testimony(BROKER, "does not answer", Stand.OPEN)
    asked = [holding.name for holding in facts.holdings]
    states = {name: found.state for name in asked if (found := facts.delivery("rollback", name)) is not None}
    dead = [name for name, state in states.items() if state == "dead"]
    handled = [name for name, state in states.items() if state == "handled"]
    if dead:
        return Testimony(BROKER, f"a dead letter: {names(dead)} did not handle the rollback", Stand.ASIDE)
    if handled:
        sofar = "" if len(handled) == len(asked) else ", so far"
        return Testimony(BROKER, f"rollback handled by {names(handled)}{sofar}", Stand.ASIDE)
    return Testimony(BROKER, "no rollback was handled, as far as it tells", Stand.ASIDE)


def _holder_on_giving_back(facts: Facts, holding: Holding) -> Testimony:
    name = plain(holding.name)
    if holding.state is Held.SILENT:
        return Testimony(name, "does not answer", Stand.OPEN)
    if holding.state is not Held.HELD:
        words = {Held.RELEASED: "gave it back", Held.TOMBSTONE: "holds nothing: a tombstone"}
        return Testimony(name, words.get(holding.state, "holds nothing"), Stand.YES)
    delivery = facts.delivery("rollback", holding.name)
    if delivery is not None and delivery.state == "handled":
        return Testimony(name, "still holds its part, though it handled the rollback", Stand.NO)
    return Testimony(name, "still holds its part: it has to hear of it", Stand.OPEN)
