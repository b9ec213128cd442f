"""What can happen next to an order's payment: one generator for each actor."""

from tests.model.exploring import No
from tests.model.payments_world import (
    CHARGES,
    Steps,
    World,
    changed,
    is_right,
    kept,
    paid,
    refunded,
    released,
    sent_back,
)
from tests.model.world import CLOSED, CREATED, GONE, PAID, put


def steps(world: World, no: No) -> Steps:
    """Yield the name and the outcome of each step that is possible."""
    yield from _placing(world, no)
    yield from _customer(world, no)
    yield from _news(world, no)
    for charge in CHARGES:
        yield from _handling(world, charge, no)
        yield from _success(world, charge, no)
        yield from _refunding(world, charge, no)
    yield from _closing(world, no)
    yield from _sweeping(world, no)


def _placing(world: World, no: No) -> Steps:
    if world.place == "start":
        yield "order.half_sent, pay asked", world._replace(place="asked", half="half", wire=1)
    if world.place == "asked":
        yield "pay does not answer", world._replace(place="aborting")
        if world.header == "deducted":
            yield "order.deducted", world._replace(place="held")
    if world.place == "held":
        yield "local transaction failed", world._replace(place="aborting")
        if world.record == "-":
            written = world._replace(record="committed", order=CREATED)
            yield "order.committed", written._replace(place="committed")
            yield "CommitOutcomeUnknown: it committed", written._replace(place="done")
    if world.place in {"committed", "aborting"}:
        half = "dropped" if world.place == "committed" else "ready"
        yield f"order.resolved: {half}", world._replace(place="done", half=half if world.half == "half" else world.half)
    if world.place not in {"start", "done"}:
        yield "placing process dies", world._replace(place="done")
    if world.wire:
        arrived = world._replace(wire=world.wire - 1)
        yield "request to pay lost", arrived
        is_new = world.header == "-"
        yield "pay.deducted", arrived._replace(header="deducted", payment="open") if is_new else arrived
    yield from _placing_message(world, no)


def _placing_message(world: World, no: No) -> Steps:
    if world.half == "half":
        if world.record == "committed":
            yield "check: rollback", world._replace(half="dropped")
        elif world.record == "aborted":
            yield "check: commit", world._replace(half="ready")
        else:
            yield "check.fenced", world._replace(record="aborted")
        if "no giving up" not in no:
            yield "broker gives up", world._replace(half="parked")
    if world.half == "ready":
        yield "rollback reaches pay", released(world, no)._replace(half="dropped")


def _customer(world: World, no: No) -> Steps:
    """Yield what a customer does with a page that was opened while the payment was open; the page does not know."""
    for charge in CHARGES:
        if world.tries[charge] == "-" and world.payment == "open" and not (charge and "one try" in no):
            yield f"attempt.begun {charge + 1}", world._replace(tries=put(world.tries, charge, "begun"))
        if world.tries[charge] == "begun" and not world.taken[charge]:
            in_time = world.answers and world.close in {"none", "idle"} and is_right(world, charge)
            yield (
                f"provider takes {charge + 1}",
                world._replace(
                    taken=put(world.taken, charge, value=True),
                    news=put(world.news, charge, "wire"),
                    in_time=world.in_time or (in_time and world.order == CREATED and world.payment == "open"),
                ),
            )


def _news(world: World, no: No) -> Steps:
    for charge in CHARGES:
        state = world.news[charge]
        if state == "wire":
            yield f"callback {charge + 1} stored", world._replace(news=put(world.news, charge, "stored"))
            if "no loss" not in no:
                yield f"callback {charge + 1} lost", world._replace(news=put(world.news, charge, "lost"))
        if state == "lost" and "no polling" not in no:
            yield f"poll {charge + 1} stored", world._replace(news=put(world.news, charge, "stored"))
        if state == "handled" and not world.copies and "no duplicates" not in no:
            again = world._replace(copies=1)
            yield f"callback {charge + 1} comes again", _again(again, charge, no)


def _again(world: World, charge: int, no: No) -> World:
    """Another event about a charge that is known does nothing."""
    return sent_back(world, charge) if "the same event again is new" in no else world


def _handling(world: World, charge: int, no: No) -> Steps:
    """Yield what a handler of stored news does; it may die, and begin again."""
    step = world.handler[charge]
    if step == "idle" and world.news[charge] == "stored":
        yield from _handle(world, charge, no)
    if step == "half":
        yield from _commit(world, charge, no)
        failed = world._replace(handler=put(world.handler, charge, "raced"))
        yield f"success {charge + 1}: the transaction fails", failed
    if step in {"committed", "raced"}:
        resolved = "ready" if step == "committed" or "a raced success is sent" in no else "dropped"
        yield (
            f"success.resolved {charge + 1}: {resolved}",
            world._replace(
                handler=put(world.handler, charge, "idle"), success=changed(world.success, charge, "half", resolved)
            ),
        )
    if step != "idle":
        dies = world._replace(handler=put(world.handler, charge, "idle"))
        if "the event is stored with its effect only" in no and world.news[charge] == "stored":
            dies = dies._replace(news=put(dies.news, charge, "lost"))
        yield f"handler {charge + 1} dies", dies


def _handle(world: World, charge: int, no: No) -> Steps:
    fits = is_right(world, charge) or "another amount pays" in no
    is_open = world.payment == "open" or (world.payment == "succeeded" and "a second charge is kept" in no)
    if is_open and fits:
        if world.success[charge] in {"-", "dropped", "parked"}:
            begun = world._replace(success=put(world.success, charge, "half"), told=put(world.told, charge, "-"))
            yield f"success.half_sent {charge + 1}", begun._replace(handler=put(begun.handler, charge, "half"))
    elif world.payment in {"closed", "refunding", "refunded"} and "late money is kept" in no:
        yield f"late {charge + 1}, ignored", world._replace(news=put(world.news, charge, "handled"))
    else:
        yield f"event.handled {charge + 1}: to be refunded", sent_back(world, charge)


def _commit(world: World, charge: int, no: No) -> Steps:
    is_open = world.payment == "open" or (world.payment == "succeeded" and "a second charge is kept" in no)
    if world.told[charge] != "-" or not is_open or world.news[charge] == "handled":
        yield f"success {charge + 1} raced", world._replace(handler=put(world.handler, charge, "raced"))
        return
    done = kept(world, charge)._replace(told=put(world.told, charge, "committed"))
    yield f"success.committed {charge + 1}", done._replace(handler=put(world.handler, charge, "committed"))


def _success(world: World, charge: int, no: No) -> Steps:
    state = world.success[charge]
    if state == "half":
        if world.told[charge] == "-":
            yield f"success {charge + 1}: check.fenced", world._replace(told=put(world.told, charge, "aborted"))
        else:
            answer = "ready" if world.told[charge] == "committed" else "dropped"
            yield f"success {charge + 1}: check", world._replace(success=put(world.success, charge, answer))
        if "no giving up" not in no:
            yield (
                f"broker gives up on success {charge + 1}",
                world._replace(success=put(world.success, charge, "parked")),
            )
    if state == "ready":
        yield from _heard(world, charge, no)
    # Of an order that is closed, or never was, it is told in vain: no step, or nothing would ever be final
    is_void = world.order == CLOSED or world.record == "aborted"
    is_untold = world.charges[charge] == "kept" and not world.known and not is_void
    if state in {"parked", "dropped"} and is_untold and "a success is told once" not in no:
        yield f"told again {charge + 1}", world._replace(success=put(world.success, charge, "ready"))


def _heard(world: World, charge: int, no: No) -> Steps:
    gone = put(world.success, charge, "dropped")
    if world.order in {CREATED, PAID, CLOSED} or world.record == "aborted" or "an undecided order is swallowed" in no:
        yield f"payment.handled {charge + 1}", paid(world, no)._replace(success=gone)
        if not world.copies and "no duplicates" not in no:
            yield f"payment.received {charge + 1}, comes again", paid(world, no)._replace(copies=1)
    elif world.record == "-" and world.place == "done" and "a payment waits for ever" not in no:
        yield f"payment {charge + 1}: check.fenced", world._replace(record="aborted")


def _refunding(world: World, charge: int, no: No) -> Steps:
    """Yield what a try to refund may come to: the provider does it once for each key, though it says no, or nothing."""
    if world.charges[charge] not in {"refunding", "refused"}:
        return
    if world.charges[charge] == "refused" and "a refusal is the end" in no:
        return
    more = 1 if not world.returned[charge] or "another key for each try" in no else 0
    if world.returned[charge] + more > 2:  # once too often is enough to see
        return
    done = world._replace(returned=put(world.returned, charge, world.returned[charge] + more))
    yield f"refund.asked {charge + 1}, no answer", done
    yield f"refund.stored {charge + 1}", refunded(done, charge)
    if not world.no[charge]:  # it says no once: not done, or done later
        refusal = world._replace(no=put(world.no, charge, value=True))
        state = "refunded" if "a failed refund is a refund" in no else "refused"
        yield f"refund {charge + 1} refused", refusal._replace(charges=put(world.charges, charge, state))
    elif not world.returned[charge]:
        yield f"refund {charge + 1} done after a no", done


def _closing(world: World, no: No) -> Steps:
    if world.close == "idle" and world.half2 in {"-", "dropped", "parked"} and world.order == CREATED:
        yield "the timeout is due", world._replace(close="asking")
    if world.close == "asking":
        yield from _ask(world, no)
    if world.close == "half":
        is_open = world.order == CREATED or (world.order == PAID and "closing closes a paid order" in no)
        if world.record2 == "-" and is_open:
            closed = world._replace(close="committed", record2="committed", order=CLOSED, settlement="void")
            yield "close.committed", closed
        else:
            yield "closing refused", world._replace(close="raced")
    if world.close in {"committed", "raced"}:
        half2 = "ready" if world.close == "committed" else "dropped"
        yield "close.resolved", world._replace(close="idle", half2=half2 if world.half2 == "half" else world.half2)
    if world.close not in {"none", "idle"}:
        yield "closer dies", world._replace(close="idle")
    yield from _closing_message(world, no)


def _ask(world: World, no: No) -> Steps:
    """Yield the last question: every charge is heard of and handled before the closing begins, if it is answered."""
    unheard = [c for c in CHARGES if world.taken[c] and world.news[c] != "handled"]
    if world.answers and "closing without the last question" not in no:
        for charge in unheard:
            if world.news[charge] in {"wire", "lost"}:
                yield f"last question {charge + 1} stored", world._replace(news=put(world.news, charge, "stored"))
        if unheard:
            return
    if world.payment == "succeeded" and "closing without the last question" not in no:
        yield "the last question: paid", paid(world, no)._replace(close="idle")
        return
    yield "close.half_sent", world._replace(close="half", half2="half", record2="-")


def _closing_message(world: World, no: No) -> Steps:
    if world.half2 == "half":
        if world.record2 == "-":
            yield "closing: check.fenced", world._replace(record2="aborted")
        else:
            yield "closing: check", world._replace(half2="ready" if world.record2 == "committed" else "dropped")
        if "no giving up" not in no:
            yield "broker gives up on closing", world._replace(half2="parked")
    if world.half2 == "ready":
        yield "rollback 2 reaches pay", released(world, no)._replace(half2="dropped")


def _sweeping(world: World, no: No) -> Steps:
    """Yield the order service's word: on a reservation that is not verified, and what it has written down to tell."""
    if world.header == "deducted" and not world.verified and "no sweep" not in no:
        if world.order == PAID and world.settlement != "paid":
            yield "sweep: paid", world._replace(verified=True, known=True)
        elif world.order == CREATED:
            yield "sweep: stands", world._replace(verified=True)
        elif world.order == CLOSED or (world.order == GONE and world.record == "aborted"):
            yield "sweep: void", released(world, no)
        elif world.order == GONE and world.place == "done":
            yield "sweep.fenced", world._replace(record="aborted")
    if world.settlement == "paid":
        told = world._replace(known=world.header == "deducted", verified=True)
        yield "pay is told: paid, not noted", told
        yield "pay is told: paid", told._replace(settlement="-")
    if world.settlement == "void":
        yield "pay is told: void, not noted", released(world, no)
        yield "pay is told: void", released(world, no)._replace(settlement="-")
    if world.payment == "succeeded" and world.order == CREATED and "no answer at once" not in no:
        yield "pay answered: order paid at once", paid(world, no)
