"""The provider: a party outside that takes money and sends it back, and errs as a run's faults say.

It speaks the sandbox's interface (docs/payments.md), and is none of its code: its ledger is what pay is judged by.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final

import orjson
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from common.sandbox import SIGNATURE_HEADER, callback_key, signature
from lab.simulate.faults import Fault, Trigger
from lab.simulate.scheduler import Process, Scheduler
from lab.simulate.transport import Answer
from lab.simulate.world import World

SECRET: Final = SecretStr("what pay and the simulated provider agree on")
_OK, _SUCCESSES, _NOT_FOUND, _FAILED = 200, range(200, 300), 404, 503
_OTHER_CURRENCY: Final = "USD"  # orders cost EUR
_NO_MONEY: Final = {"charge_id": None, "amount": None, "currency": None}
_FORGED: Final = "999999999"  # what no charge has as its name
_GUESS: Final = SecretStr("what a stranger takes for the secret")
_CALLS_WITHIN: Final = 3.0  # seconds that a callback waits for its answer
_CALLS_AGAIN: Final = (1.0, 8.0)  # seconds until a callback that was not taken comes again, at first and at most
_CALLS_SOON: Final = 0.3  # seconds from the news to its callback, at most
_LATER: Final = 2.0  # seconds until a refund is done that is pending, or was said to be refused
_SESSION: Final = re.compile(r"/sessions/([\w-]+)(/close)?")
_REFUND: Final = re.compile(r"/charges/([0-9]+)/refunds")


@dataclass(slots=True)
class _Session:
    """A try to pay; `tells`: the call that begins it is answered with what happened."""

    number: int
    asked: Mapping[str, Any]
    tells: bool = False
    is_open: bool = True
    events: list[dict[str, Any]] = field(default_factory=list)

    def out(self, *, told: bool = True) -> dict[str, Any]:
        reference = f"session-{self.number}"
        whose = {"reference": reference, "payment_id": self.asked["payment_id"]}
        return {**whose, "page": f"http://sandbox/page/{reference}", "events": self.events if told else []}


@dataclass(slots=True)
class _Refund:
    """An asking for a refund."""

    number: int
    state: str
    reason: str | None = None
    done_at: int = 0
    """When the money went back, in ms since the epoch; 0: it did not."""

    def out(self) -> dict[str, Any]:
        return {"refund_id": str(self.number), "state": self.state, "reason": self.reason}


@dataclass(slots=True)
class _Charge:
    """Money that was taken, and each asking for it back, by its key."""

    number: int
    session: _Session
    amount: int
    currency: str
    taken_at: int
    refunds: dict[str, _Refund] = field(default_factory=dict)


class Provider:
    """One provider, for one run. It never dies, and does each thing whole."""

    def __init__(self, world: World, process: Process) -> None:
        """Take the world, and the process whose tasks call pay back."""
        self._world = world
        self.process = process
        self._key = callback_key(SECRET)
        self._numbers = count(1)
        self._sessions: dict[str, _Session] = {}  # by the attempt
        self._charges: dict[str, _Charge] = {}
        self._under_way = 0

    @property
    def is_busy(self) -> bool:
        """Whether it is yet to do, or to tell, something."""
        return self._under_way > 0

    def sessions(self) -> Iterator[tuple[int, int]]:
        """Yield each try, and the payment that it is of."""
        for one in self._sessions.values():
            yield one.number, int(one.asked["payment_id"])

    def taken(self) -> Iterator[tuple[int, int, int, str]]:
        """Yield all money that was taken: for which payment, when (ms since the epoch), how much of what."""
        for one in self._charges.values():
            yield int(one.session.asked["payment_id"]), one.taken_at, one.amount, one.currency

    def charges(self) -> Iterator[tuple[int, int, int, str]]:
        """Yield all money that was taken: its name, its try, how much of what."""
        for one in self._charges.values():
            yield one.number, one.session.number, one.amount, one.currency

    def refunds(self) -> Iterator[tuple[int, str]]:
        """Yield each asking for money back, one for each key: of which charge, and where it stands."""
        for charge in self._charges.values():
            for refund in charge.refunds.values():
                yield charge.number, refund.state

    def sent_back(self) -> Iterator[tuple[int, int, int]]:
        """Yield all money that went back: of which payment, when it was taken, and when it went (ms)."""
        for charge in self._charges.values():
            for refund in charge.refunds.values():
                if refund.state == "done":
                    yield int(charge.session.asked["payment_id"]), charge.taken_at, refund.done_at

    def _now(self) -> int:
        return self._world.scheduler.now // 1_000_000

    def serve(self, method: str, path: str, payload: bytes | None, _headers: Mapping[str, str]) -> Answer:
        """Answer pay."""
        body = orjson.loads(payload or b"{}")
        if (method, path) == ("POST", "/sessions"):
            return self._begin(body)
        if found := _REFUND.fullmatch(path):
            return self._refund(found[1], body)
        found = _SESSION.fullmatch(path)
        named = found and next((one for one in self._sessions.values() if one.out()["reference"] == found[1]), None)
        if found is None or named is None:
            return _NOT_FOUND, b"{}"
        if self._strikes("close" if found[2] else "ask"):
            return _FAILED, b"{}"
        if found[2]:
            named.is_open = False
        return _OK, orjson.dumps(named.out())

    def _strikes(self, place: str) -> Fault | None:
        return self._world.injector.struck_by(Trigger.PROVIDER, place)

    def _kind(self, place: str) -> str:
        fault = self._strikes(place)
        return "" if fault is None else fault.kind

    def _later(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something later: it stays under way until then."""
        scheduler: Scheduler = self._world.scheduler
        self._under_way += 1

        def do() -> None:
            self._under_way -= 1
            work()

        scheduler.at(scheduler.now + int(seconds * 1e9), do)

    def _begin(self, asked: Mapping[str, Any]) -> Answer:
        fault = self._strikes("begin")
        if fault is not None and fault.kind == "fails":
            return _FAILED, b"{}"
        session = self._sessions.get(asked["attempt_id"])
        if session is None:
            session = self._sessions[asked["attempt_id"]] = _Session(next(self._numbers), asked)
            if fault is not None and fault.kind == "no-and-takes":
                self._decline(session, answered=True)
                self._later(fault.seconds, partial(self._take, session))
            else:
                self._behave(session)
        if fault is not None and fault.kind == "fails-done":
            return _FAILED, b"{}"
        return _OK, orjson.dumps(session.out(told=session.tells))

    def _behave(self, session: _Session) -> None:
        """Do what the scenario of the try wants: see docs/payments.md.

        `page:SECONDS`: a person pays there after so long, if it is open.
        """
        word, _, seconds = (session.asked["scenario"] or "card").partition(":")
        session.tells = word in {"card", "twice", "decline"}
        if word in {"card", "callback", "silent", "twice"}:
            for _ in range(2 if word == "twice" else 1):
                self._take(session)
        elif word == "decline":
            self._decline(session, answered=True)
        elif word == "late":
            self._later(float(seconds), partial(self._take, session))
        elif word == "page":
            self._later(float(seconds), lambda: self._take(session) if session.is_open else None)

    def _decline(self, session: _Session, *, answered: bool) -> None:
        session.tells, session.is_open = True, False
        self._tell(session, "failed", answered=answered, reason="The card was declined.")

    def _take(self, session: _Session) -> None:
        """Take the money of a try, and tell."""
        session.is_open = False
        amount, currency = session.asked["amount"], session.asked["currency"]
        fault = self._strikes("charge")
        kind = "" if fault is None else fault.kind
        if kind == "other-amount":
            amount += 1
        if kind == "other-currency":
            currency = _OTHER_CURRENCY
        charge = _Charge(next(self._numbers), session, amount, currency, self._now())
        self._charges[str(charge.number)] = charge
        self._world.injector.tell("takes money", charge=charge.number, order_id=session.asked["payment_id"])
        if kind == "sent-back":
            self._send_back(charge, fault.seconds if fault is not None else 0.0)
        else:
            self._tell_of(charge, "succeeded")

    def _send_back(self, charge: _Charge, after: float) -> None:
        """Send money back unasked, tell of that first, and so many seconds after pay knows it that it was taken."""
        charge.session.tells = False
        charge.refunds["its own"] = _Refund(next(self._numbers), "done", done_at=self._now())
        raws = [self._event(charge.session, kind, **_about(charge)) for kind in ("refunded", "succeeded")]
        if charge.session.asked["scenario"] != "silent":
            self._call_back(*raws, between=after)

    def _tell_of(self, charge: _Charge, kind: str, *, answered: bool = False) -> None:
        self._tell(charge.session, kind, answered=answered, **_about(charge))

    def _event(self, session: _Session, kind: str, **about: Any) -> bytes:
        """Write news down; return the callback that tells it."""
        event = {"event_id": str(next(self._numbers)), "kind": kind, "reason": None, **_NO_MONEY, **about}
        session.events.append(event)
        return orjson.dumps({**event, **{name: session.out()[name] for name in ("reference", "payment_id")}})

    def _tell(self, session: _Session, kind: str, *, answered: bool = False, **about: Any) -> None:
        """Write news down, and call back with it, unless a call is `answered` with it."""
        raw = self._event(session, kind, **about)
        if answered or session.asked["scenario"] == "silent":
            return
        fault = self._strikes("callback")
        soon = self._world.scheduler.random.uniform(0, _CALLS_SOON)
        kind = "" if fault is None else fault.kind
        late = [] if fault is None or kind not in {"late", "twice"} else [fault.seconds]
        for seconds in (*late, *([] if kind in {"late", "lost"} else [soon])):
            self._later(seconds, partial(self._call_back, raw))
        if kind == "forged":
            self._forge(raw)

    def _forge(self, raw: bytes) -> None:
        """Be a stranger, who tells of money that was never taken."""
        forged = orjson.loads(raw) | {"event_id": _FORGED, "charge_id": _FORGED, "kind": "succeeded"}
        told = orjson.dumps(forged)
        self._world.scheduler.spawn(self.process, "stranger", lambda: self._call(told, callback_key(_GUESS)))

    def _call_back(self, *raws: bytes, between: float = 0.0) -> None:
        """Call pay back as often as it takes, with one after the other, and so many seconds in between."""
        scheduler = self._world.scheduler
        self._under_way += 1

        def call() -> None:
            for place, raw in enumerate(raws):
                if place:
                    scheduler.sleep(between)
                self._call_until_taken(raw)
            self._under_way -= 1

        scheduler.spawn(self.process, "callback", call)

    def _call_until_taken(self, raw: bytes) -> None:
        wait, longest = _CALLS_AGAIN
        while self._call(raw, self._key) not in _SUCCESSES:
            self._world.scheduler.sleep(wait)
            wait = min(longest, 2 * wait)

    def _call(self, raw: bytes, key: bytes) -> int:
        """Call pay back once; return the status of its answer, 0 without one."""
        at = self._world.scheduler.now // 1_000_000_000
        headers = {SIGNATURE_HEADER.lower(): signature(key, raw, at)}
        network = self._world.network
        try:
            return network.call("pay", "POST", "/callbacks/sandbox", raw, _CALLS_WITHIN, headers=headers)[0]
        except HTTPError:
            return 0

    def _refund(self, charge_id: str, asked: Mapping[str, Any]) -> Answer:
        kind = self._kind("refund")
        charge = self._charges.get(charge_id)
        if kind == "fails":
            return _FAILED, b"{}"
        if charge is None or (asked["amount"], asked["currency"]) != (charge.amount, charge.currency):
            return _NOT_FOUND, orjson.dumps({"detail": "There is no such charge."})
        refund = charge.refunds.get(asked["key"])
        if refund is None:
            refund = charge.refunds[asked["key"]] = _Refund(next(self._numbers), "refused")
        if refund.state == "refused":
            self._decide(charge, refund, kind)
        if kind == "fails-done":
            return _FAILED, b"{}"
        return _OK, orjson.dumps(refund.out())

    def _decide(self, charge: _Charge, refund: _Refund, kind: str) -> None:
        """Say what becomes of a refund. A charge goes back under another key as well: that is seen in its ledger."""
        refund.state, refund.reason, refund.done_at = "done", None, self._now()
        if kind.startswith("refused"):
            refund.state, refund.reason = "refused", "The balance is too low."
            self._tell_of(charge, "refund-refused", answered=True)
        elif kind == "pending":
            refund.state = "pending"
        else:
            self._tell_of(charge, "refunded", answered=kind != "fails-done")
        if kind in {"pending", "refused-done"}:
            self._later(_LATER, partial(self._do, charge, refund))

    def _do(self, charge: _Charge, refund: _Refund) -> None:
        """Do a refund that was pending, or refused; unless it was asked for again, and done."""
        if refund.state != "done":
            refund.state, refund.reason, refund.done_at = "done", None, self._now()
            self._tell_of(charge, "refunded")


def _about(charge: _Charge) -> dict[str, Any]:
    return {"charge_id": str(charge.number), "amount": charge.amount, "currency": charge.currency}
