"""Makes a run's plan from its seed, and from nothing else: the same seed, the same plan, on any machine."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from common.registry import PARTICIPANTS
from halfmessage.failpoints import of_participant
from lab.drill.drill import ServerKind
from lab.drill.nemesis.history import Coupon
from lab.drill.nemesis.plan import ALL, REQUESTS, ROLLBACKS, TIMEOUTS, Call, Client, Fault, Kind, Op, Plan, Step
from lab.drill.nemesis.planner_returns import of_returns, with_returns
from lab.drill.nemesis.planner_sales import PIECES, of_sales, with_sales
from lab.drill.nemesis.regimes import BLOCK, ORDER_INSTANCES, PROCESSES, REGIMES, caller_of
from lab.drill.profiles import PAIR

_FAILPOINTS = (
    *("order.half_sent", "order.timeout_scheduled", "order.deducted", "order.before_commit", "order.committed"),
    *("order.before_resolve", "order.resolved", "close.half_sent", "close.before_commit", "close.committed"),
    *("close.before_resolve", "paying.committed", "check.received", "check.fenced", "timeout.received"),
    *("payment.received", "payment.handled", "attempt.stored", "attempt.begun", "event.stored", "event.handled"),
    *("success.half_sent", "success.committed", "refund.asked", "refund.stored"),
    *sorted(point for name in PARTICIPANTS for point in of_participant(name) if not point.endswith(".settled")),
)
_MAY_FAIL = ("order.committed", "close.committed", "order.before_resolve", "close.before_resolve")
"""Where a failure has a meaning: the answer to COMMIT is lost, the broker is not told."""

_OF_REQUESTS = tuple(f"request.{step}" for step in ("half_sent", "before_commit", "committed", "resolved", "received"))
_OF_PAY = ("attempt", "event", "success", "refund")
_LINKS = tuple(f"{caller_of(name)}>{name}" for name in PROCESSES)
_REAL_LINKS = (*(f"{name}>database" for name in ("order", *PARTICIPANTS)), "services>redis", "services>broker")
_REAL_SERVERS = ("broker", "namesrv", "mariadb", "redis")
_LASTS: Mapping[Kind, tuple[float, float]] = {
    Kind.PAUSE: (0.1, 1.5),
    Kind.OUTAGE: (0.1, 1.5),
    Kind.DISK: (0.2, 1.0),
    Kind.REFUSE: (0.1, 0.8),
    Kind.SLOW: (0.3, 1.5),
    Kind.HANG: (0.2, 1.5),
    Kind.LOSE_ANSWERS: (0.1, 0.8),
}
_ALL_OFF = Coupon(100, 1000, 1000)
"""An order with it costs nothing, and is paid at once."""

_COUPONS = (None, None, None, None, 0, 0, 1, 1, 1, 2)
"""Of orders: their coupons, as often as they stand here; None: none."""

_SCENARIOS = (*("",) * 8, "decline", "silent", "silent", "callback", "callback", "twice", "late:1", "page", "never")
"""Of payments, as often as they stand here; "": the money is taken at once, and the answer says so."""

_OF_PROVIDER: Mapping[str, float] = {
    "delay": 0.8,
    "duplicate": 0.8,
    "reorder": 0.8,
    "lost": 0.8,
    "wrong_amount": 0.3,
    "wrong_currency": 0.3,
    "begin_fails": 0.5,
    "begin_fails_done": 0.5,
    "ask_fails": 0.5,
    "refund_fails": 0.5,
    "refund_fails_done": 0.5,
    "refund_pending": 0.8,
    "refund_refused": 0.8,
    "refund_refused_done": 0.8,
}
"""What a provider may do wrong, and how probable that is at most."""

_WINDOW = 1.6  # seconds in which faults begin; clients are busy for about that long


def make(seed: int, servers: ServerKind) -> Plan:
    """Return the plan of one run on such servers."""
    chance = random.Random(f"{seed} {servers}")
    scarce = chance.randint(3, 20)
    clients = [_Script(chance, f"c{number}").client() for number in range(chance.randint(3, 6))]
    regime = REGIMES[seed // BLOCK % len(REGIMES)].name
    faults = _faults(chance, servers)
    of_money = random.Random(f"{seed} {servers} money")
    clients = [_with_scenarios(of_money, client) for client in clients]
    of_requests = random.Random(f"{seed} {servers} requests")
    clients = [_with_requests(of_requests, client) for client in clients]
    faults = [_of_requests(of_requests, fault) for fault in faults]
    of_buying = random.Random(f"{seed} {servers} sales")
    clients = with_sales(of_buying, clients)
    faults = [of_sales(of_buying, fault) for fault in faults]
    of_going_back = random.Random(f"{seed} {servers} returns")
    clients = [with_returns(of_going_back, client) for client in clients]
    faults = [of_returns(of_going_back, fault) for fault in faults]
    scarce_coupon = Coupon(10, chance.randint(2, 6), chance.randint(1, 2))
    coupons = (Coupon(10, 1000, 1000), scarce_coupon, _ALL_OFF)
    return Plan(seed, regime, (1000, 1000, scarce, PIECES), clients, faults, coupons, _provider(of_money))


def _with_scenarios(chance: random.Random, client: Client) -> Client:
    """Have the client pay in ways of all kinds."""

    def with_scenario(call: Call) -> Call:
        return replace(call, scenario=chance.choice(_SCENARIOS)) if call.op is Op.PAY else call

    return replace(client, steps=[replace(step, calls=list(map(with_scenario, step.calls))) for step in client.steps])


def _with_requests(chance: random.Random, client: Client) -> Client:
    """Have the client submit some of its orders to be placed soon, and ask what became of them."""
    steps: list[Step] = []
    for step in client.steps:
        calls = [replace(one, op=Op.SUBMIT) if _is_submitted(chance, one) else one for one in step.calls]
        steps.append(replace(step, calls=calls))
        asked = [one.order for one in calls if one.op is Op.SUBMIT and chance.random() < 0.7]  # noqa: PLR2004 - most
        if asked:
            later = round(chance.uniform(0.0, 0.3), 3)
            steps.append(Step(later, [Call(Op.ASK, one, instance=chance.randrange(ORDER_INSTANCES)) for one in asked]))
    return replace(client, steps=steps)


def _is_submitted(chance: random.Random, call: Call) -> bool:
    return call.op is Op.PLACE and chance.random() < 0.3  # noqa: PLR2004 - now and then


def _of_requests(chance: random.Random, fault: Fault) -> Fault:
    """Have some faults meet requests: their messages are repeated, their steps are failpoints."""
    if chance.random() > 0.3:  # noqa: PLR2004 - now and then
        return fault
    if fault.kind is Kind.REPEAT:
        return replace(fault, target=REQUESTS)
    if fault.kind is Kind.FAILPOINT:
        _, _, how = fault.settings["failpoints"].partition("=")
        point = chance.choice(_OF_REQUESTS)
        target = fault.target if fault.target.partition("-")[0] == "order" else "order"
        return replace(fault, target=target, settings={"failpoints": f"{point}={how.replace('raise', 'kill')}"})
    return fault


def _provider(chance: random.Random) -> dict[str, float]:
    """Return the faults that the provider has in a run: in most, some."""
    names = chance.sample(sorted(_OF_PROVIDER), chance.choice((0, 0, 1, 2, 4)))
    return {name: round(chance.uniform(0.1, _OF_PROVIDER[name]), 2) for name in names}


def _faults(chance: random.Random, servers: ServerKind) -> list[Fault]:
    faults = [_fault(chance, servers) for _ in range(chance.randint(1, 5))]
    faults += [_twin(fault) for fault in faults if _has_twin(fault) and chance.random() < 0.3]  # noqa: PLR2004 - now and then
    if chance.random() < 0.25:  # noqa: PLR2004 - a failpoint costs two starts of a process: not in every run
        faults.append(_trap(chance))
    return sorted(faults, key=lambda fault: fault.at)


def _fault(chance: random.Random, servers: ServerKind) -> Fault:
    """Return a fault; processes are killed most often, as in life."""
    at = round(chance.uniform(0.05, _WINDOW), 3)
    kinds = [Kind.KILL] * 6 + [Kind.PAUSE] * 3 + [Kind.RESTART, Kind.OUTAGE, Kind.DISK] + [Kind.REPEAT] * 2
    kinds += [Kind.CUT] * 2 + [Kind.REFUSE, Kind.SLOW, Kind.HANG, Kind.LOSE_ANSWERS, Kind.LOSE_ANSWERS]
    kind = chance.choice(kinds)
    real = servers is ServerKind.REAL
    if kind is Kind.OUTAGE:
        target = chance.choice(_REAL_SERVERS if real else ("broker", "database"))
    elif kind is Kind.PAUSE:
        target = chance.choice((*PROCESSES, *(_REAL_SERVERS if real else ())))
    elif kind is Kind.REPEAT:
        target = chance.choice((ROLLBACKS, ROLLBACKS, TIMEOUTS))
    elif kind is Kind.DISK:
        target = chance.choice((*PROCESSES, ALL, ALL))
    elif kind in {Kind.KILL, Kind.RESTART}:
        target = chance.choice(PROCESSES)
    else:
        target = chance.choice((*_LINKS, *(_REAL_LINKS if real else ())))
    return Fault(at, kind, target, _seconds(chance, kind), _settings(chance, kind))


def _has_twin(fault: Fault) -> bool:
    return fault.target in PROCESSES and fault.target.partition("-")[0] in PAIR.instances


def _twin(fault: Fault) -> Fault:
    """Return the same for the other process of the service: both are gone at once."""
    service, _, number = fault.target.partition("-")
    return replace(fault, target=service if number else f"{service}-2")


def _seconds(chance: random.Random, kind: Kind) -> float:
    return round(chance.uniform(*_LASTS[kind]), 3) if kind in _LASTS else 0.0


def _settings(chance: random.Random, kind: Kind) -> dict[str, str]:
    if kind is Kind.SLOW:
        return {"delay": f"{chance.uniform(0.02, 0.3):.3f}"}
    if kind is Kind.RESTART and chance.random() < 0.5:  # noqa: PLR2004 - half of them keep their clocks
        return {"transaction_deadline": "0.1", "check_first_after": "0.05"}
    return {}


def _trap(chance: random.Random) -> Fault:
    point = chance.choice((*_FAILPOINTS, *_MAY_FAIL * 2))
    begins = point.partition(".")[0]
    service = "pay" if begins in _OF_PAY else begins if begins in PARTICIPANTS else "order"
    target = chance.choice([name for name in PROCESSES if name.partition("-")[0] == service])
    actions = ["kill"] * 4 + [f"delay:{chance.uniform(0.1, 0.8):.2f}"] * 2 + ["raise"] * 3 * (point in _MAY_FAIL)
    action = chance.choice(actions)
    return Fault(0.0, Kind.FAILPOINT, target, 0.0, {"failpoints": f"{point}={action}@{chance.randint(1, 4)}"})


@dataclass(slots=True)
class _Script:
    """Writes one client's steps; `placed` are the orders that it has asked for."""

    chance: random.Random
    name: str
    placed: list[Call] | None = None

    def client(self) -> Client:
        kinds: Sequence[tuple[Callable[[], list[Call]], int]] = (
            (self._place, 8),
            (self._many, 3),
            (self._one_key_at_once, 2),
            (self._repeat, 4),
            (self._other_body, 1),
            (lambda: self._changes(Op.PAY), 4),
            (lambda: self._changes(Op.CANCEL), 3),
            (lambda: self._changes(Op.PAY, Op.CANCEL), 2),
            (lambda: self._changes(Op.PAY, Op.PAY, Op.PAY), 1),
            (lambda: self._changes(Op.LOOK), 2),
            (lambda: [Call(Op.LIST, instance=self._instance())], 1),
            (lambda: [Call(Op.LEVEL, lines=((self.chance.randrange(3), 0),))], 1),
            (lambda: [Call(Op.COUPON, coupon=self.chance.randrange(3))], 1),
        )
        self.placed = []
        steps = [Step(0.0, self._place())]
        for _ in range(self.chance.randint(5, 10)):
            (make_step,) = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
            steps.append(Step(round(self.chance.uniform(0.0, 0.3), 3), make_step()))
        return Client(self.name, steps)

    def _instance(self) -> int:
        return self.chance.randrange(ORDER_INSTANCES)

    def _order(self) -> Call:
        assert self.placed is not None  # noqa: S101 - set by client()
        goods = self.chance.sample(range(3), self.chance.choice((1, 1, 2)))
        lines = tuple((one, self.chance.randint(1, 4)) for one in goods)
        keyed = self.chance.random() < 0.85  # noqa: PLR2004 - most clients use keys
        coupon = self.chance.choice(_COUPONS)
        call = Call(Op.PLACE, f"{self.name}-{len(self.placed)}", lines, keyed, self._instance(), coupon)
        self.placed.append(call)
        return call

    def _place(self) -> list[Call]:
        return [self._order()]

    def _many(self) -> list[Call]:
        return [self._order() for _ in range(self.chance.randint(2, 8))]

    def _one_key_at_once(self) -> list[Call]:
        call = self._order()
        repeats = self.chance.randint(1, 3) if call.keyed else 0
        return [call, *(self._again(call) for _ in range(repeats))]

    def _repeat(self) -> list[Call]:
        keyed = [call for call in self.placed or () if call.keyed]
        return [self._again(self.chance.choice(keyed))] if keyed else self._place()

    def _again(self, call: Call, lines: Sequence[tuple[int, int]] | None = None) -> Call:
        return replace(call, lines=call.lines if lines is None else lines, instance=self._instance())

    def _other_body(self) -> list[Call]:
        keyed = [call for call in self.placed or () if call.keyed]
        if not keyed:
            return self._place()
        call = self.chance.choice(keyed)
        return [self._again(call, [(goods, quantity + 1) for goods, quantity in call.lines])]

    def _changes(self, *ops: Op) -> list[Call]:
        order = self.chance.choice(self.placed or []).order
        return [Call(op, order, instance=self._instance()) for op in ops]
