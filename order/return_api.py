"""Returns over REST, and what an operator does about sagas."""

from common.web import Api, ProblemWith, Reply
from halfmessage.errors import Conflict, NotFound, OutcomeUnknown
from halfmessage.saga.model import OPEN, Run
from halfmessage.saga.operating import Sagas
from order.api import OWNER, owner_of
from order.model import OrderNotPaid, ReturnTooLate
from order.return_schema import (
    GiveUp,
    ReturnBegunOut,
    ReturnOrder,
    ReturnOut,
    SagaOut,
    SagasOut,
    SagasQuery,
    Skip,
)
from order.schema import UnknownMembers
from order.service.returning import Returning

_ADMIN = ("admin",)


def install(api: Api, returning: Returning, sagas: Sagas) -> None:
    """Declare the routes."""

    @api.post(
        "/orders/{order_id}/return",
        scopes=OWNER,
        body=ReturnOrder,
        returns={202: ReturnBegunOut},
        errors=[NotFound, OrderNotPaid, ReturnTooLate, ProblemWith(OutcomeUnknown, UnknownMembers)],
    )
    def return_order(order_id: int, body: ReturnOrder) -> Reply:
        """Return a paid order: money, pieces and coupon go back, soon; again: the same."""
        run = returning.give_back(order_id, body.reason, owner=owner_of(order_id))
        return Reply(ReturnBegunOut.of(run), 202, {"Location": f"/orders/{order_id}/return"})

    @api.get("/orders/{order_id}/return", scopes=OWNER, returns={200: ReturnOut}, errors=[NotFound])
    def show_return(order_id: int) -> Reply:
        """Show how far the return of an order is."""
        return Reply(ReturnOut.of(returning.of(order_id, owner=owner_of(order_id))))

    _install_sagas(api, sagas)


def _install_sagas(api: Api, sagas: Sagas) -> None:
    def shown(run: Run) -> SagaOut:
        return SagaOut.of(run, is_known=sagas.is_known(run))

    @api.get("/admin/sagas", scopes=_ADMIN, query=SagasQuery, returns={200: SagasOut})
    def list_sagas(query: SagasQuery) -> Reply:
        """List the runs of sagas in a state, or those that are open, newest first."""
        states = OPEN if query.state is None else [query.state]
        found = sagas.list(states, before=query.before, limit=query.limit + 1)
        page, next_cursor = query.page(found, lambda run: run.run_id)
        return Reply(SagasOut(items=[shown(run) for run in page], next_cursor=next_cursor))

    @api.get("/admin/sagas/{run_id}", scopes=_ADMIN, returns={200: SagaOut}, errors=[NotFound])
    def show_saga(run_id: int) -> Reply:
        """Show a run."""
        return Reply(shown(sagas.show(run_id)))

    @api.post("/admin/sagas/{run_id}/retry", scopes=_ADMIN, returns={200: SagaOut}, errors=[NotFound, Conflict])
    def retry(run_id: int) -> Reply:
        """Have the next try now."""
        return Reply(shown(sagas.retry(run_id)))

    @api.post(
        "/admin/sagas/{run_id}/give-up", scopes=_ADMIN, body=GiveUp, returns={200: SagaOut}, errors=[NotFound, Conflict]
    )
    def give_up(run_id: int, body: GiveUp) -> Reply:
        """Try nothing more: a run that can turn back does; any other ends as it is."""
        return Reply(shown(sagas.give_up(run_id, body.why)))

    @api.post(
        "/admin/sagas/{run_id}/skip", scopes=_ADMIN, body=Skip, returns={200: SagaOut}, errors=[NotFound, Conflict]
    )
    def skip(run_id: int, body: Skip) -> Reply:
        """Go on as if a step were done: an operator saw to it by hand."""
        return Reply(shown(sagas.skip(run_id, body.step, body.why)))
