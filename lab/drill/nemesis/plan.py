"""What a run does, written down before it begins: each client's calls, and each fault. Plain data, kept as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lab.drill.nemesis.history import Coupon


class Op(StrEnum):
    """What a client asks for."""

    PLACE = "place"
    SUBMIT = "submit"
    PAY = "pay"
    CANCEL = "cancel"
    RETURN = "return"
    LOOK = "look"
    LIST = "list"
    LEVEL = "level"
    COUPON = "coupon"
    ASK = "ask"
    OPEN_SALE = "open-sale"
    BUY = "buy"
    CLOSE_SALE = "close-sale"


class Kind(StrEnum):
    """How something is broken.

    Those of `LINK_KINDS` are done to a connection, the others to a process, a server or a topic.
    """

    KILL = "kill"
    PAUSE = "pause"
    RESTART = "restart"
    FAILPOINT = "failpoint"
    OUTAGE = "outage"
    DISK = "disk"
    REPEAT = "repeat"
    CUT = "cut"
    REFUSE = "refuse"
    SLOW = "slow"
    HANG = "hang"
    LOSE_ANSWERS = "lose-answers"


PLACING = frozenset({Op.PLACE, Op.SUBMIT})
"""Either makes an order of its call: at once, or as a request that is worked off soon."""

LINK_KINDS = frozenset({Kind.CUT, Kind.REFUSE, Kind.SLOW, Kind.HANG, Kind.LOSE_ANSWERS})


ALL = "every process"
"""A fault's target."""

ROLLBACKS, TIMEOUTS, REQUESTS = "order_rollback", "order_timeout", "order_request"
"""Targets of `Kind.REPEAT`: topics."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `order` is the plan's name of the order meant; an order's id is known only when it was answered.

    `lines` are the goods (their position in `Plan.goods`) and quantities of an order that is placed, or the goods
    whose level is looked at; `coupon` the coupon that it is ordered with or that is looked at (its position in
    `Plan.coupons`, None: none); `instance` is which order process is asked; `scenario` how the provider is to behave
    when an order is paid. `sale` is the plan's name of a flash sale, of `per_user` pieces for one user at most; `lines`
    tell how many pieces it has, or how many are bought, and `order` names the purchase.
    """

    op: Op
    order: str = ""
    lines: Sequence[tuple[int, int]] = ()
    keyed: bool = True
    instance: int = 0
    coupon: int | None = None
    scenario: str = ""
    sale: str = ""
    per_user: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """Calls made at the same moment, `after` seconds after the client's last ones were answered."""

    after: float
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Client:
    """One user."""

    name: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something broken `at` seconds after the clients began, for so many `seconds` (0: a injection, not a state).

    A failpoint is armed before they begin, and acts when its process gets there.
    """

    at: float
    kind: Kind
    target: str
    seconds: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in a line."""
        more = "".join(f" {name}={value}" for name, value in self.settings.items())
        lasting = f" for {self.seconds:g} s" if self.seconds else ""
        when = "before the clients begin" if self.kind is Kind.FAILPOINT else f"at {self.at:.2f} s"
        return f"{self.kind} {self.target}{more} {when}{lasting}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `goods` are the pieces that there are of each goods; `regime` names the deployment's settings.

    `provider`: the sandbox's faults, and how probable each is.
    """

    seed: int
    regime: str
    goods: Sequence[int]
    clients: Sequence[Client]
    faults: Sequence[Fault]
    coupons: Sequence[Coupon] = ()
    provider: Mapping[str, float] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """How many calls its clients make."""
        return sum(len(step.calls) for client in self.clients for step in client.steps)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Plan":
        """Return the plan that `as_json` told. Raise `KeyError`, `TypeError`, `ValueError` for anything else."""
        return cls(
            int(document["seed"]),
            str(document["regime"]),
            tuple(int(pieces) for pieces in document["goods"]),
            tuple(Client(one["name"], tuple(map(_step, one["steps"]))) for one in document["clients"]),
            tuple(Fault(**{**one, "kind": Kind(one["kind"])}) for one in document["faults"]),
            tuple(Coupon(**one) for one in document.get("coupons", ())),  # plans that were kept before had none
            document.get("provider", {}),
        )


def _step(document: Mapping[str, Any]) -> Step:
    return Step(float(document["after"]), tuple(map(_call, document["calls"])))


def _call(document: Mapping[str, Any]) -> Call:
    lines = tuple((int(goods), int(quantity)) for goods, quantity in document["lines"])
    return Call(**{**document, "op": Op(document["op"]), "lines": lines})
