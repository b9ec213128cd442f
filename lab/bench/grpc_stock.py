"""The reservations of stock behind gRPC instead of REST, for `./scripts/bench calls` alone.

`python -m lab.bench.grpc_stock DATABASE_URL [CORE]` prints its port, and serves until its standard input ends. The
bodies are those of the REST call, and no token is asked for: what gRPC saves is told rather too well than too badly.
"""

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import orjson

from common.cores import keep_to
from common.db import Database
from common.reservations.schema import decisions_answer, deduct_body
from stock.schema import OrderIn, PiecesDecision
from stock.service.pieces import stock_reservations

SERVICE: Final = "orders.Stock"
_THREADS: Final = 8


def main() -> None:
    """Serve."""
    url, *core = sys.argv[1:]
    for one in core:
        keep_to(int(one))
    database = Database(url, pool_size=_THREADS)
    reservations = stock_reservations(database)
    body, answer = deduct_body(OrderIn), decisions_answer(PiecesDecision)

    def deduct(request: bytes, _: Any) -> bytes:
        asked = body.model_validate(orjson.loads(request))
        decisions = reservations.deduct(asked.tx_id, asked.wants())
        return orjson.dumps(answer(orders=[PiecesDecision.of(each) for each in decisions]).model_dump(mode="json"))

    def deduct_each(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        return (deduct(request, context) for request in requests)

    server = grpc.server(ThreadPoolExecutor(_THREADS))
    methods = {
        "Deduct": grpc.unary_unary_rpc_method_handler(deduct),
        "DeductEach": grpc.stream_stream_rpc_method_handler(deduct_each),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    gc.freeze()  # as services do, see `common.process`
    print(port, flush=True)
    sys.stdin.read()
    server.stop(1.0).wait()
    database.close()


if __name__ == "__main__":
    main()
