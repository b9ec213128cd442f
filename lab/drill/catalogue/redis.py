"""A Redis that is gone or has forgotten everything: it holds nothing that can't be lost."""

from redis import Redis

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import Broken, DrillRun
from lab.drill.profiles import PAIR

_OK = 200


def _down(run: DrillRun) -> None:
    first = run.placed()
    with run.outage("redis"):
        for at in ("order", "order-2"):
            run.placed(at=at)
        paid = run.change(first, "pay")
        run.same("HTTP status of a payment", paid and paid.status, _OK)
    run.placed()
    run.settle()
    run.stands("created", "created", "created", "paid")


def _flushed(run: DrillRun) -> None:
    servers = run.sut.deployment.plan.servers
    if servers is None:
        raise Broken("There is no Redis here.")
    run.placed()
    with Redis.from_url(servers.redis_url) as client:
        keys = int(client.dbsize())
        client.flushdb()
    run.fault(f"Redis is flushed: {keys} keys are gone")
    for at in ("order", "order-2"):
        run.placed(at=at)
    run.settle()
    run.stands("created", "created", "created")


DRILLS = (
    Drill(
        "redis-down",
        "Redis is killed (kill -9), and started again",
        "under prices and rate limits that two order processes share",
        "orders are placed and paid without it",
        _down,
        servers=ServerKind.REAL,
        profile=PAIR,
    ),
    Drill(
        "redis-flushed",
        "Redis forgets everything (FLUSHDB)",
        "under prices and rate limits that two order processes share",
        "orders are placed as before",
        _flushed,
        servers=ServerKind.REAL,
        profile=PAIR,
    ),
)
