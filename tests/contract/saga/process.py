"""One process with an instance of the engine, to be killed: `python -m tests.contract.saga.process URL RUNS SPEC`.

It starts RUNS runs by keys 0 to RUNS-1, of which those with an odd key are refused at their last step, and ends once
every run of the log has. SPEC arms failpoints.
"""

import logging
import sys
import threading

import structlog

from halfmessage import failpoints
from halfmessage.ids import LeasedIds
from halfmessage.saga.definition import Call, Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.operating import Sagas
from halfmessage.saga.plan import Delay
from tests.contract.saga.shop import LEASE, Shop

_PAUSE = 0.02  # s between looks


def charge(shop: Shop, call: Call) -> object:
    if call.attempt == 1:
        raise ConnectionError("the first try never arrives")
    return shop.arrive(call)


def ship(shop: Shop, call: Call) -> object:
    return shop.arrive(call, refuse=call.input["refuse"])


def made(shop: Shop) -> Engine:
    """Return an instance: a step outside, one in the log's database, two branches, and one that may be refused."""
    steps = [
        shop.outside("reserve"),
        shop.local("note"),
        shop.outside("charge", lambda call: charge(shop, call), needs=("note",)),
        shop.outside("wrap", needs=("note",)),
        shop.outside("ship", lambda call: ship(shop, call), needs=("charge", "wrap")),
    ]
    return shop.make(Saga("sale", steps, deadline=60), lease=LEASE, delay=Delay(first=1, longest=1))


def main(url: str, runs: int, spec: str) -> None:
    """Run until all is ended."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )  # drawn frames take seconds
    shop = Shop(url)
    ids = LeasedIds(shop.database, "sale")
    ids.start()
    shop.ids = ids  # type: ignore[assignment]
    engine = made(shop)
    failpoints.arm(spec, failpoints.of_saga("saga"))
    for key in range(runs):
        engine.run("sale", str(key), {"refuse": key % 2 == 1})
    pause = threading.Event()
    while Sagas(engine).list():
        if not engine.sweep():
            pause.wait(_PAUSE)
    ids.close()
    shop.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
