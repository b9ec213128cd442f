"""Databases that can't be written, are gone, or are killed in the middle of COMMIT."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import LONG_OUTAGE
from lab.drill.proxy import Proxy
from lab.drill.sut import STOCK
from ops.client import Answer
from ops.errors import CommandFailed
from ops.stack import Stack

_GONE_FOR = 60.0  # seconds; some orders fall due meanwhile
_TRIES = 6
_COMMIT_TAKES = 0.004  # seconds, about, on an ordinary disk
_OK, _CREATED, _UNAVAILABLE = 200, 201, 503


def _down(run: DrillRun) -> None:
    unpaid, cancelled = run.placed(), run.placed()
    run.change(cancelled, "cancel")
    with run.outage("database"):
        answer = run.place()
        run.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)
        refused = run.change(unpaid, "pay")
        run.same("HTTP status of a payment", refused and refused.status, _UNAVAILABLE)
        run.pause(_GONE_FOR)
    run.settle()
    run.stands("closed", "closed")
    run.say("the order that fell due meanwhile is closed; its timeout did not wait for a retry grown long")
    again = run.change(run.placed(), "pay")
    run.same("HTTP status of a payment now", again and again.status, _OK)


def _killed_in_commit(run: DrillRun) -> None:
    chance, left, cut = random.Random(11), 0, 0
    for _ in range(_TRIES):
        pid = run.arm("order", "order.before_commit=delay:0.2")
        with run.meanwhile(run.place) as result:
            run.reached("order", "order.before_commit")
            run.pause(0.2 + chance.uniform(0.0, _COMMIT_TAKES))
            run.kill("order")
            answer = result()
        if answer is not None and answer.status != _CREATED:
            raise Broken(f"An order was refused with {answer.status} by a process that was killed.")
        cut += answer is None
        left += answer is not None
        run.back("order", pid)
    run.settle()
    found = run.statuses()
    run.claim(f"of {_TRIES} orders {len(found)} exist; {left} clients had their 201", len(found) >= left)
    run.say(f"{len(found) - left} of {cut} clients who were cut off have an order all the same")
    run.same("pieces available", run.available(), STOCK - 2 * len(found))


@contextmanager
def _in_commit(run: DrillRun, verdict: str, strike: Callable[[], None]) -> Iterator[None]:
    """Have order speak to its database through a proxy, which does `strike` and says `verdict` at the next COMMIT."""
    proxy = Proxy(run.sut.deployment.database_url("order"))
    ready = threading.Event()

    def watch(packet: bytes) -> str:
        if not ready.is_set() or not packet.endswith(b"\x03COMMIT"):
            return "pass"
        ready.clear()
        threading.Thread(target=strike).start()
        return verdict

    proxy.watch(watch)
    run.restart("order", {"ORDERS_DATABASE_URL": proxy.url}, "a proxy before its database")
    ready.set()
    try:
        yield
    finally:
        ready.clear()
        run.disarm()
        proxy.close()


def _cut_in_commit(run: DrillRun, verdict: str) -> None:
    with _in_commit(run, verdict, lambda: None):
        answer = run.place()
        run.fault("the connection was cut in COMMIT")
        _told_unknown(run, answer)
        run.settle()
        run.stands(*(["created"] if verdict == "cut after" else []))


def _server_killed_in_commit(run: DrillRun) -> None:
    servers = run.sut.deployment.plan.servers
    if servers is None:
        raise CommandFailed("There is no database server here.")
    stack = Stack(Path(servers.stack), say=lambda _: None)
    pid = next(server.pid for server in stack.status().servers if server.name == "mariadb") or 0
    with _in_commit(run, "cut after", lambda: os.kill(pid, signal.SIGKILL)):
        answer = run.place()
        run.fault(f"mariadb (pid {pid}) was killed by SIGKILL while it had a COMMIT in hand")
        _told_unknown(run, answer)
        stack.start("mariadb")
        run.mended("mariadb is started again")
        run.supervisor.wait_ready()
        run.settle()
        found = run.statuses()
        run.say(f"its COMMIT was {'carried out' if found else 'lost'}")
        run.stands(*found)


def _told_unknown(run: DrillRun, answer: Answer | None) -> None:
    run.same("kind of the answer", answer and answer.body.get("type"), "/problems/outcome-unknown")


DRILLS = (
    Drill(
        "database-down",
        "the databases are gone (embedded: locked; real: kill -9, started again)",
        "for a minute, in which an order falls due",
        "503 and nothing created; afterwards everything agrees and goes on, and no retry has grown long",
        _down,
        profile=LONG_OUTAGE,
    ),
    Drill(
        "killed-in-commit",
        "order and its embedded database are killed 6 times around COMMIT",
        "0 to 4 ms after COMMIT began",
        "each order is written whole or not at all; a client who has its 201 has its order",
        _killed_in_commit,
        servers=ServerKind.EMBEDDED,
    ),
    *(
        Drill(
            f"connection-cut-{word}-commit",
            "the connection to the database is cut in COMMIT",
            where,
            holds,
            partial(_cut_in_commit, verdict=f"cut {word}"),
            servers=ServerKind.REAL,
        )
        for word, where, holds in (
            ("before", "the server never got it", "the client hears outcome-unknown; check-back finds that it was not"),
            ("after", "the server has done it", "the client hears outcome-unknown; check-back finds that it was"),
        )
    ),
    Drill(
        "database-killed-in-commit",
        "MariaDB is killed (kill -9)",
        "while it has the COMMIT of an order in hand",
        "the client hears outcome-unknown; check-back finds out, order and stock agree",
        _server_killed_in_commit,
        servers=ServerKind.REAL,
    ),
)
