"""The console while what it looks at is gone: its pages say so, and none fails."""

import time
from collections import Counter
from functools import partial

from console.pages.viewer import COOKIE
from halfmessage.chunks import chunks
from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import DrillRun
from lab.drill.parallel import at_once
from lab.drill.profiles import WITH_CONSOLE
from ops.client import Unreachable

_PAGES = (
    *("/", "/live", "/orders", "/orders/{order}", "/orders?status=created", "/find?q={order}", "/find?q=nothing"),
    *("/messages", "/messages?key={order}", "/messages?state=half", "/dead", "/transactions", "/stock", "/coupons"),
    *("/payments", "/payments/{order}", "/sales", "/sagas", "/reconcile", "/drills", "/story-files"),
    *("/orders/{order}/story.html", "/stock/{goods}"),
)
_AT_ONCE = 8  # pages that are open
_LONGEST = 20.0  # seconds for a page; that of an order asks six services and a broker, each with a bound of its own
_OK, _UNAVAILABLE = 200, 503


def _gone(run: DrillRun, server: str) -> None:
    first, second = run.placed(), run.placed()
    run.change(first, "cancel")
    run.settle()
    _all_answer(run, second, "before", frozenset({_OK}))
    with run.outage(server):
        _all_answer(run, second, f"while the {server} is gone", frozenset({_OK, _UNAVAILABLE}))
    run.supervisor.wait_ready()
    run.wait(
        "all pages to come as before",
        lambda: {status for status, _ in _answers(run, second).values()} == {_OK},
        within=60.0,
    )
    run.say("all pages come as before")
    run.settle()
    run.stands("created", "closed")


def _all_answer(run: DrillRun, order: str, when: str, may_be: frozenset[int]) -> None:
    found = _answers(run, order)
    statuses, longest = Counter(status for status, _ in found.values()), max(took for _, took in found.values())
    told = ", ".join(f"{status or 'no answer'} {number} times" for status, number in sorted(statuses.items()))
    odd = "".join(f"; {path} {status or 'none'}" for path, (status, _) in found.items() if status not in may_be)
    run.claim(f"{len(_PAGES)} pages {when}: {told}{odd}", not odd)
    bound = _LONGEST * run.stretch
    run.claim(f"the slowest took {longest:.1f} s, at most {bound:g} s", longest <= bound)


def _answers(run: DrillRun, order: str) -> dict[str, tuple[int, float]]:
    """Return for each page its status, 0 where there was no answer, and how long it took, in seconds."""
    token = run.sut.deployment.token("admin", ["admin", "orders"])
    headers = {"Cookie": f"{COOKIE}={token}", "Accept": "text/html"}

    def look(path: str) -> tuple[int, float]:
        began = time.monotonic()
        try:
            status = run.sut.admin.ask("console", "GET", path, headers=headers).status
        except Unreachable:
            status = 0
        return status, time.monotonic() - began

    found: dict[str, tuple[int, float]] = {}
    for together in chunks([page.format(order=order, goods=run.goods_id) for page in _PAGES], _AT_ONCE):
        found |= zip(together, at_once([partial(look, path) for path in together]), strict=True)
    return found


DRILLS = tuple(
    Drill(
        f"console-while-{server}-is-gone",
        f"{name} is killed (kill -9), and started again",
        "under open pages of the console",
        "every page says what it can't see, within its bound, and shows the rest; none fails",
        partial(_gone, server=server),
        servers=ServerKind.REAL,
        profile=WITH_CONSOLE,
    )
    for server, name in (("broker", "RocketMQ"), ("database", "MariaDB"), ("redis", "Redis"))
)
