"""One random run: a plan played on a system under test, and judged."""

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from threading import Thread

from common.registry import SANDBOX
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.ids import first_of
from lab.drill.nemesis import clients, quiet
from lab.drill.nemesis.checker import check
from lab.drill.nemesis.clients import Shop, Shopper
from lab.drill.nemesis.faults import FaultInjector, Injection
from lab.drill.nemesis.history import Coupon, Entry, Final, Recorder
from lab.drill.nemesis.linked_sut import LinkedSystem
from lab.drill.nemesis.plan import Op, Plan
from ops.client import Unreachable
from ops.waiting import wait_for

HISTORY = "history.jsonl"
_LONGEST_DELAY = 1.0  # seconds by which the provider may delay something
_SET_WITHIN = 30.0  # seconds


@dataclass(slots=True)
class Run:
    """What came of a plan. `wrong` is empty if every answer was true and everything settled in time."""

    plan: Plan
    limit: float
    wrong: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    injections: Sequence[Injection] = ()
    history: Sequence[Entry] = ()
    final: Final | None = None
    last_open: Sequence[str] = ()
    dropped: int = 0
    """Messages that RocketMQ said it dropped meanwhile."""
    took: float = 0.0
    evidence: str | None = None
    again: str = ""
    shrunk: Plan | None = None

    @property
    def passed(self) -> bool:
        """The verdict."""
        return not self.wrong

    @property
    def quiet_after(self) -> float | None:
        """How long after the last fault everything was at rest, in seconds; None: never."""
        return self.final.quiet_after if self.final else None

    @property
    def of_limit(self) -> float | None:
        """The same, as a share of what it may take."""
        return None if self.quiet_after is None else self.quiet_after / self.limit


def play(plan: Plan, sut: LinkedSystem, *, evidence: Path, stretch: float = 1.0) -> Run:
    """Play a plan and judge it. `evidence` is a directory for its history; `stretch` multiplies the limit."""
    began = time.monotonic()
    run = Run(plan, sut.limit * stretch)
    evidence.mkdir(parents=True, exist_ok=True)
    try:
        _play(run, sut, evidence)
    except HalfMessageError as error:
        run.wrong.append(f"the run could not be finished: {error.detail}")
    run.took = time.monotonic() - began
    return run


def _play(run: Run, sut: LinkedSystem, evidence: Path) -> None:
    sut.runs += 1
    sut.clean()
    dropped_before = quiet.dropped(sut)
    since = first_of(now_ms())
    goods = _stock_up(sut, run.plan.goods)
    coupons = _make_coupons(sut, run.plan.coupons)
    tag = secrets.token_hex(4)  # its users are no other run's: plans are played more than once on one deployment
    users = [f"{client.name}-{tag}" for client in run.plan.clients]
    recorder = Recorder(evidence / HISTORY)
    try:
        last_fault = _clients_and_faults(run, sut, (list(goods), list(coupons)), users, recorder)
    finally:
        recorder.close()
        run.history = recorder.entries
        run.answers = Counter(_told(entry) for entry in recorder.entries)
    watch = quiet.Watch(sut, last_fault)
    quiet_after = _settled(run, sut, watch, dropped_before)
    run.last_open = watch.last_open
    sut.wait_ready()
    run.final = quiet.read_final(
        sut,
        goods,
        coupons,
        users,
        _requests(run.history),
        watch.left,
        since=since,
        quiet_after=quiet_after,
        limit=run.limit,
    )
    run.wrong += check(run.history, run.final)
    if sut.regime.sweeps:
        quiet.resume_parked(sut)


def _requests(history: Sequence[Entry]) -> set[tuple[str, str]]:
    """Return the order requests that were taken in, each after its user."""
    soon = {Op.SUBMIT, Op.BUY}
    taken = (entry for entry in history if entry.op in soon and entry.status == HTTPStatus.ACCEPTED)
    return {(entry.user, str(entry.body["request_id"])) for entry in taken}


def _settled(run: Run, sut: LinkedSystem, watch: quiet.Watch, dropped_before: int) -> float | None:
    """Wait for quiet; where RocketMQ says that it dropped a message, one sweep is stated, which is made then."""
    quiet_after = watch.wait(run.limit)
    run.dropped = quiet.dropped(sut) - dropped_before
    if quiet_after is None and run.dropped:
        watch.sweep()
        quiet_after = watch.wait(run.limit)
    return quiet_after


def _stock_up(sut: LinkedSystem, pieces: Sequence[int]) -> dict[str, int]:
    """Create the plan's goods with their pieces; return goods id → pieces, in the plan's order."""
    found = {}
    with sut.deployment.client("drill", ["admin"]) as admin:
        for number, total in enumerate(pieces):
            goods = {"name": f"goods {number}", "unit_price": 100 + number, "currency": "EUR"}
            goods_id = str(admin.post("goods", "/goods", goods)["goods_id"])
            admin.put("stock", f"/stock/{goods_id}", {"total": total})
            found[goods_id] = total
    return found


def _make_coupons(sut: LinkedSystem, planned: Sequence[Coupon]) -> dict[str, Coupon]:
    """Create the plan's coupons; return them by their ids, in the plan's order."""
    found = {}
    with sut.deployment.client("drill", ["admin"]) as admin:
        for coupon in planned:
            uses = {"uses": coupon.uses, "uses_per_user": coupon.uses_per_user}
            made = admin.post("coupon", "/coupons", {"kind": "percent", "value": coupon.percent, **uses})
            found[str(made["coupon_id"])] = coupon
    return found


def _clients_and_faults(
    run: Run, sut: LinkedSystem, things: tuple[Sequence[str], Sequence[str]], users: Sequence[str], recorder: Recorder
) -> float:
    """Have clients and faults at it, with the ids of goods and coupons.

    Return when the last fault ended or the last call began (`time.monotonic`).
    """
    at_failpoints = FaultInjector(sut, lambda: 0.0).arm_failpoints(run.plan.faults)
    _set_provider(sut, run.plan.seed, run.plan.provider)
    with ExitStack() as stack:
        began, now = time.monotonic(), clients.stopwatch()
        admin = stack.enter_context(sut.client("drill", ["admin"]))
        shop = Shop(*things, sut.deployment.plan.instances_of("order"), now, admin)
        shoppers = {}
        for script, user in zip(run.plan.clients, users, strict=True):
            client = stack.enter_context(sut.client(user))
            shoppers[script.name] = Shopper(user, client, shop, recorder)
        failed: list[BaseException] = []
        nemesis = Thread(target=_inject, args=(run, FaultInjector(sut, now), failed), name="nemesis")
        nemesis.start()
        try:
            clients.play(run.plan, shoppers)
        finally:
            nemesis.join()
            _set_provider(sut, 0, {})
            run.injections = [*at_failpoints, *run.injections]
        for error in failed:
            raise error
    moments = [injection.ended for injection in run.injections] + [entry.invoked for entry in recorder.entries]
    return began + max([*moments, now() if run.plan.provider else 0.0])


def _set_provider(sut: LinkedSystem, seed: int, faults: Mapping[str, float]) -> None:
    """Have the sandbox do wrong what it is to, and nothing else. Raise `NotInTime`, `CommandFailed`."""
    body = {"seed": seed, "longest": _LONGEST_DELAY, **faults}

    def is_set() -> bool:
        with sut.deployment.client("drill", ["admin"]) as admin:
            try:
                return admin.ask(SANDBOX, "PUT", "/faults", json_body=body).status == HTTPStatus.OK
            except Unreachable:  # it was killed, and is being started
                return False

    wait_for("the sandbox", is_set, within=_SET_WITHIN, every=0.05)


def _inject(run: Run, injector: FaultInjector, failed: list[BaseException]) -> None:
    try:
        run.injections = injector.inject(run.plan.faults)
    except BaseException as error:  # noqa: BLE001 - a thread's edge: raised again by the one that waits for it
        failed.append(error)


def _told(entry: Entry) -> str:
    return "no answer" if entry.status is None else f"{entry.status} {entry.slug}".strip()
