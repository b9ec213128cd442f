"""The web layer that the services share: declare routes on an `Api`, run it with `serve`.

    api = Api("stock", title="Stock", description="…", max_body=settings.max_body, verifier=verifier,
              metrics=metrics, checks={"database": database.ping})

    @api.put("/stock/{goods_id}", scopes=("admin",), body=SetTotal, returns={200: StockOut}, errors=[BelowReserved])
    def set_total(goods_id: int, body: SetTotal) -> Reply:
        \"\"\"Set the total.\"\"\"                      (becomes the summary in the OpenAPI document)
        return Reply(service.set_total(goods_id, body.total))

    serve(api.app, host=…, port=…, threads=…, max_connections=…, on_stop=[consumer.close, broker.close, database.close])

A view gets, by keyword: every `{…}` of the path, parsed as an id (what is no id is a 404); `body`, `query` and
`idempotency_key` if the route declares them. `current_identity()` says who calls. It returns a `Reply`, or raises
an `OrdersError`; every class of it that it may raise belongs into `errors`.
"""

from common.web.api import Api
from common.web.observe import current_request_id
from common.web.problems import ProblemWith
from common.web.routes import Reply, Route, created, current_identity, replayed
from common.web.server import serve

__all__ = [
    "Api",
    "ProblemWith",
    "Reply",
    "Route",
    "created",
    "current_identity",
    "current_request_id",
    "replayed",
    "serve",
]
