"""A Redis that loses a flash sale while buyers buy: emptied, or replaced by an older copy (docs/decisions/0037)."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lab.drill.drill import Drill, Limit, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import PIECES_IN_REDIS
from lab.judge.databases import read
from lab.redis_server import RedisServer
from ops.buyers import SOLD_OUT, Buyer, Crowd, Tally
from ops.flash_demo import ENDS, words_of
from ops.places import PACKAGES

_PIECES, _BUYERS = 60, 90
_AT_ONCE = 8
_COPIED_AT, _LOST_AT = 10, 30  # purchases that were answered with 202
_WITHIN = 60.0  # seconds, for all buyers to know what they got
_RECONCILED_WITHIN = 120.0  # seconds, on a machine that is busy with much else
_DECIDED = 200

Moments = Mapping[int, Callable[[], None]]
"""What is done by the buyer with which so many purchases are taken in; the others go on meanwhile."""


def _emptied(run: DrillRun) -> None:
    redis = _redis(run)

    def empty() -> None:
        keys = int(redis.admin.dbsize())
        redis.admin.flushdb()
        run.fault(f"Redis is emptied (FLUSHDB) with {_LOST_AT} purchases taken in: {keys} keys are gone")

    _sold_all_the_same(run, {_LOST_AT: empty})


def _set_back(run: DrillRun) -> None:
    redis, copy = _redis(run), run.sut.deployment.directory.root / "redis-copy"

    def keep() -> None:
        redis.copy_to(copy)
        run.say(f"what Redis has on its disk is copied with {_COPIED_AT} purchases taken in")

    def set_back() -> None:
        pid = redis.kill()
        redis.set_back_to(copy)
        run.fault(f"Redis (pid {pid}) is killed with {_LOST_AT} purchases taken in, and started on the copy")

    _sold_all_the_same(run, {_COPIED_AT: keep, _LOST_AT: set_back})


def _redis(run: DrillRun) -> RedisServer:
    if run.sut.redis is None:
        raise Broken("There is no Redis here.")
    return run.sut.redis


def _sold_all_the_same(run: DrillRun, moments: Moments) -> None:
    """Have buyers come for more pieces than there are, and more of them for what comes back; count what was sold."""
    run.sale_id = run.sut.new_sale(run.goods_id, _PIECES, per_user=1)
    tally = _bought(run, _buyers(run, 0, _BUYERS), moments)
    run.mended("every buyer knows what it got")
    run.claim(
        f"purchases taken in: {len(tally.taken_in)}, of which some after the loss", len(tally.taken_in) > _LOST_AT
    )
    run.settle()
    _decided(run, tally)
    if left := _PIECES - len(_holders(run)):
        run.say(f"{left} pieces are for sale again: of purchases that were forgotten, then refused or never taken in")
        rest = _bought(run, _buyers(run, _BUYERS, left), {})
        run.mended("the pieces that came back have buyers")
        run.same("buyers of these that were taken in", len(rest.taken_in), left)
        run.settle()
        _decided(run, rest)
    holders = _holders(run)
    run.same("pieces sold", len(holders), _PIECES)
    run.same("users who have them", len(set(holders)), _PIECES)
    shown = run.sut.admin.get("flash", f"/flash-sales/{run.sale_id}")
    run.same("pieces left by the sale", shown["left"], 0)
    _reconciled(run)


def _buyers(run: DrillRun, first: int, number: int) -> list[Buyer]:
    names = [f"{run.user}-{one}" for one in range(first, first + number)]
    return [Buyer(name, run.sut.deployment.token(name)) for name in names]


def _bought(run: DrillRun, buyers: Sequence[Buyer], moments: Moments) -> Tally:
    """Have all of them buy until each knows what it got, and hold that each was told something it should be."""
    left = dict(moments)

    def taken_in(number: int) -> None:
        if (act := left.pop(number, None)) is not None:
            act()

    crowd = Crowd(run.sut.admin, run.sale_id or "", at_once=_AT_ONCE, taken_in=taken_in)
    with crowd.buying(buyers) as all_answered:
        run.claim("every buyer got an answer", all_answered(_WITHIN * run.stretch))
    tally = crowd.tally
    again = ", ".join(f"{times} x {why}" for why, times in sorted(tally.tries_again.items())) or "no buyer had to"
    run.say(f"tried again: {again}; the slowest knew after {tally.slowest:.1f} s")
    run.same("answers that no buyer should get", tally.strange, [])
    run.say(f"{len(tally.taken_in)} were told that they are in (202), {len(tally.refused)} that it is {SOLD_OUT}")
    return tally


def _decided(run: DrillRun, tally: Tally) -> None:
    """Hold that each purchase with a 202 came to an order, or was refused as one that was forgotten may be."""
    became = Counter[str]()
    for where, buyer in tally.taken_in.items():
        answer = run.sut.admin.ask("order", "GET", where, headers=buyer.headers)
        became[words_of(answer.body) if answer.status == _DECIDED else f"HTTP status {answer.status}"] += 1
    words = ", ".join(f"{times} {what}" for what, times in sorted(became.items()))
    run.claim(f"each purchase with a 202 ended: {words}", set(became) <= ENDS)


def _holders(run: DrillRun) -> list[str]:
    """Return the users of the sale's orders that stand, each as often as it has one."""
    (found,) = read(run.sut.deployment.database_url("order"), _STANDING.format(sale_id=int(run.sale_id or 0)))
    return [str(user_id) for (user_id,) in found]


_STANDING = "SELECT user_id FROM orders WHERE sale_id = {sale_id} AND status IN ('created', 'paid')"


def _reconciled(run: DrillRun) -> None:
    """Hold that the product's own judge finds nothing either."""
    command = (sys.executable, "-m", "ops", "reconcile", "--data-dir", str(run.sut.deployment.directory.root))
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=_RECONCILED_WITHIN * run.stretch, cwd=PACKAGES
    )
    said = (done.stdout + done.stderr).strip().splitlines()
    run.claim(f"`orders reconcile` agrees: {said[-1] if said else 'nothing said'}", done.returncode == 0)


DRILLS = tuple(
    Drill(
        name,
        breaks,
        f"with {_LOST_AT} of {_PIECES} pieces sold, while {_BUYERS} buyers buy",
        "who has a 202 has an order, or is refused; exactly what there is is sold, and all books agree",
        play,
        servers=ServerKind.EMBEDDED,
        profile=PIECES_IN_REDIS,
        limit=Limit.SWEEP,
    )
    for name, breaks, play in (
        ("flash-pieces-emptied", "the Redis that counts a sale's pieces is emptied (FLUSHDB)", _emptied),
        (
            "flash-pieces-set-back",
            "the Redis that counts a sale's pieces is killed, and started on an older copy",
            _set_back,
        ),
    )
)
