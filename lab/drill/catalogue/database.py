"""Databases that can't be written, are gone, or are killed in the middle of COMMIT."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lab.drill.drill import Drill, Ground
from lab.drill.profiles import LONG_OUTAGE
from lab.drill.proxy import Proxy
from lab.drill.scene import Broken, Scene
from lab.drill.site import STOCK
from ops.client import Answer
from ops.errors import CommandFailed
from ops.stack import Stack

_GONE_FOR = 60.0  # seconds; some orders fall due meanwhile
_TRIES = 6
_COMMIT_TAKES = 0.004  # seconds, about, on an ordinary disk
_OK, _CREATED, _UNAVAILABLE = 200, 201, 503


def _down(scene: Scene) -> None:
    unpaid, cancelled = scene.placed(), scene.placed()
    scene.change(cancelled, "cancel")
    with scene.outage("database"):
        answer = scene.place()
        scene.same("HTTP status of the answer, nothing created", answer and answer.status, _UNAVAILABLE)
        refused = scene.change(unpaid, "pay")
        scene.same("HTTP status of a payment", refused and refused.status, _UNAVAILABLE)
        scene.pause(_GONE_FOR)
    scene.settle()
    scene.stands("closed", "closed")
    scene.say("the order that fell due meanwhile is closed; its timeout did not wait for a retry grown long")
    again = scene.change(scene.placed(), "pay")
    scene.same("HTTP status of a payment now", again and again.status, _OK)


def _killed_in_commit(scene: Scene) -> None:
    chance, left, cut = random.Random(11), 0, 0
    for _ in range(_TRIES):
        pid = scene.arm("order", "order.before_commit=delay:0.2")
        with scene.meanwhile(scene.place) as result:
            scene.reached("order", "order.before_commit")
            scene.pause(0.2 + chance.uniform(0.0, _COMMIT_TAKES))
            scene.kill("order")
            answer = result()
        if answer is not None and answer.status != _CREATED:
            raise Broken(f"An order was refused with {answer.status} by a process that was killed.")
        cut += answer is None
        left += answer is not None
        scene.back("order", pid)
    scene.settle()
    found = scene.statuses()
    scene.claim(f"of {_TRIES} orders {len(found)} exist; {left} clients had their 201", len(found) >= left)
    scene.say(f"{len(found) - left} of {cut} clients who were cut off have an order all the same")
    scene.same("pieces available", scene.available(), STOCK - 2 * len(found))


@contextmanager
def _in_commit(scene: Scene, verdict: str, strike: Callable[[], None]) -> Iterator[None]:
    """Have order speak to its database through a proxy, which does `strike` and says `verdict` at the next COMMIT."""
    proxy = Proxy(scene.site.deployment.database_url("order"))
    ready = threading.Event()

    def watch(packet: bytes) -> str:
        if not ready.is_set() or not packet.endswith(b"\x03COMMIT"):
            return "pass"
        ready.clear()
        threading.Thread(target=strike).start()
        return verdict

    proxy.watch(watch)
    scene.restart("order", {"ORDERS_DATABASE_URL": proxy.url}, "a proxy before its database")
    ready.set()
    try:
        yield
    finally:
        ready.clear()
        scene.disarm()
        proxy.close()


def _cut_in_commit(scene: Scene, verdict: str) -> None:
    with _in_commit(scene, verdict, lambda: None):
        answer = scene.place()
        scene.fault("the connection was cut in COMMIT")
        _told_unknown(scene, answer)
        scene.settle()
        scene.stands(*(["created"] if verdict == "cut after" else []))


def _server_killed_in_commit(scene: Scene) -> None:
    servers = scene.site.deployment.plan.servers
    if servers is None:
        raise CommandFailed("There is no database server here.")
    stack = Stack(Path(servers.stack), say=lambda _: None)
    pid = next(server.pid for server in stack.status().servers if server.name == "mariadb") or 0
    with _in_commit(scene, "cut after", lambda: os.kill(pid, signal.SIGKILL)):
        answer = scene.place()
        scene.fault(f"mariadb (pid {pid}) was killed by SIGKILL while it had a COMMIT in hand")
        _told_unknown(scene, answer)
        stack.start("mariadb")
        scene.mended("mariadb is started again")
        scene.supervisor.wait_ready()
        scene.settle()
        found = scene.statuses()
        scene.say(f"its COMMIT was {'carried out' if found else 'lost'}")
        scene.stands(*found)


def _told_unknown(scene: Scene, answer: Answer | None) -> None:
    scene.same("kind of the answer", answer and answer.body.get("type"), "/problems/outcome-unknown")


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
        ground=Ground.EMBEDDED,
    ),
    *(
        Drill(
            f"connection-cut-{word}-commit",
            "the connection to the database is cut in COMMIT",
            where,
            holds,
            partial(_cut_in_commit, verdict=f"cut {word}"),
            ground=Ground.REAL,
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
        ground=Ground.REAL,
    ),
)
