"""A Redis that is gone or has forgotten everything: it holds nothing that can't be lost."""

from redis import Redis

from lab.drill.drill import Drill, Ground
from lab.drill.profiles import PAIR
from lab.drill.scene import Broken, Scene

_OK = 200


def _down(scene: Scene) -> None:
    first = scene.placed()
    with scene.outage("redis"):
        for at in ("order", "order-2"):
            scene.placed(at=at)
        paid = scene.change(first, "pay")
        scene.same("HTTP status of a payment", paid and paid.status, _OK)
    scene.placed()
    scene.settle()
    scene.stands("created", "created", "created", "paid")


def _flushed(scene: Scene) -> None:
    servers = scene.site.deployment.plan.servers
    if servers is None:
        raise Broken("There is no Redis here.")
    scene.placed()
    with Redis.from_url(servers.redis_url) as client:
        keys = int(client.dbsize())
        client.flushdb()
    scene.fault(f"Redis is flushed: {keys} keys are gone")
    for at in ("order", "order-2"):
        scene.placed(at=at)
    scene.settle()
    scene.stands("created", "created", "created")


DRILLS = (
    Drill(
        "redis-down",
        "Redis is killed (kill -9), and started again",
        "under prices and rate limits that two order processes share",
        "orders are placed and paid without it",
        _down,
        ground=Ground.REAL,
        profile=PAIR,
    ),
    Drill(
        "redis-flushed",
        "Redis forgets everything (FLUSHDB)",
        "under prices and rate limits that two order processes share",
        "orders are placed as before",
        _flushed,
        ground=Ground.REAL,
        profile=PAIR,
    ),
)
