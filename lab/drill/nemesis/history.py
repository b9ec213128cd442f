"""What clients asked and were told, and how everything stood in the end: all that the checker knows. Kept as JSON.

It imports nothing of the services or of what they are built on, so that both can't be wrong in the same way.
"""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. Times in seconds since the run began; `answered` and `status` None: no answer came, `why` says why.

    `label` is the client's own name of the order, which it put into the receiver's name when it placed it; `sent` is
    the body of the request; `request_id` the order request that was asked about; `sale_id` the flash sale in which
    somebody bought; `replayed` whether the answer said that it was a repeated one.
    """

    user: str
    op: str
    label: str
    instance: str
    invoked: float
    answered: float | None = None
    status: int | None = None
    body: Any = None
    order_id: str | None = None
    sent: Mapping[str, Any] | None = None
    request_id: str | None = None
    sale_id: str | None = None
    keyed: bool = False
    replayed: bool = False
    why: str = ""

    @property
    def slug(self) -> str:
        """Which problem the answer told of: `insufficient-stock`, for example; empty where it told of none."""
        told = self.body.get("type", "") if isinstance(self.body, dict) else ""
        return str(told).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Reservation:
    """One row of the stock service with its lines: goods id → quantity."""

    order_id: str
    state: str
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Level:
    """A goods' stock."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Owned:
    """What a flash sale owns at stock: so many pieces of one goods."""

    goods_id: str
    owned: int


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon of everybody's, as it was made: per cent off, how often it may be used, and how often by one user."""

    percent: int
    uses: int
    uses_per_user: int


@dataclass(frozen=True, slots=True)
class Count:
    """What is counted of a coupon."""

    free: int
    held: int
    used: int


@dataclass(frozen=True, slots=True)
class Use:
    """One row of the coupon service: the use that an order has, `held` or `used`, or had (`free`)."""

    order_id: str
    coupon_id: str
    user: str
    state: str


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that the provider took for an order, by its own books.

    `sent_back`: how often it went back, `keys`: by how many idempotency keys that was asked for.
    """

    order_id: str
    charge_id: str
    amount: int
    currency: str
    sent_back: int
    keys: int


@dataclass(frozen=True, slots=True)
class Final:
    """How everything stood in the end.

    `goods` are the pieces that we had put there, `orders` what each user was shown of their own, `shown` and `levels`
    the stock by REST and by SQL, `reservations` those of these goods or orders by SQL. `coupons` are as they were made,
    `counted` by REST, `uses` those of these coupons by SQL, `untold` the paid orders of which the coupon service has
    still to be told, as is written down. `requests` are the order requests that a 202 told of, by id, as their user was
    shown them; one that was not found is left out. `sales` are what
    flash sales own of these goods, by SQL. `left` is what was still on its way, `quiet_after` the seconds from
    the last fault until nothing was, None if that never came; `limit` what is stated.
    """

    goods: Mapping[str, int]
    orders: Mapping[str, Sequence[Mapping[str, Any]]]
    shown: Mapping[str, Level]
    levels: Mapping[str, Level]
    reservations: Sequence[Reservation]
    quiet_after: float | None
    limit: float
    left: Sequence[str] = field(default_factory=tuple)
    coupons: Mapping[str, Coupon] = field(default_factory=dict)
    counted: Mapping[str, Count] = field(default_factory=dict)
    uses: Sequence[Use] = field(default_factory=tuple)
    untold: Sequence[str] = field(default_factory=tuple)
    charges: Sequence[Charge] = field(default_factory=tuple)
    requests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sales: Mapping[str, Owned] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Final":
        """Return what `as_json` told."""
        levels = {
            name: {goods: Level(**level) for goods, level in document[name].items()} for name in ("shown", "levels")
        }
        rows = {
            "reservations": [Reservation(**row) for row in document["reservations"]],
            "coupons": {one: Coupon(**made) for one, made in document.get("coupons", {}).items()},
            "counted": {one: Count(**counted) for one, counted in document.get("counted", {}).items()},
            "uses": [Use(**row) for row in document.get("uses", ())],
            "sales": {one: Owned(**row) for one, row in document.get("sales", {}).items()},
            "charges": [Charge(**row) for row in document.get("charges", ())],
        }
        return cls(**{**document, **levels, **rows})


class Recorder:
    """Collects a run's entries from all its clients, and writes each down as it is answered."""

    def __init__(self, file: Path | None = None) -> None:
        """Write to `file`, one JSON document a line; None: keep it in memory only."""
        self._lock = threading.Lock()
        self._out = file.open("w", encoding="utf-8", buffering=1) if file else None
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Take one call and its answer."""
        with self._lock:
            self.entries.append(entry)
            if self._out is not None:
                self._out.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        """Write no more."""
        if self._out is not None:
            self._out.close()


def load(lines: Iterable[str]) -> list[Entry]:
    """Return the entries that a recorder wrote."""
    return [Entry(**json.loads(line)) for line in lines]
