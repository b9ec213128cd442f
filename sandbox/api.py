"""REST: parse, call a use case, serialise."""

from collections.abc import Callable

from common.errors import IdempotencyMismatch, Invalid
from common.paging import decode_cursor, encode_cursor
from common.web import Api, Reply
from halfmessage.errors import NotFound
from sandbox.schema import FaultsIn, FaultsOut, LedgerPage, LedgerQuery, RefundIn, RefundOut, SessionIn, SessionOut
from sandbox.service.asking import Asking
from sandbox.service.faults import Faults
from sandbox.service.reading import Reader
from sandbox.service.refunding import Refunding
from sandbox.service.scenarios import UnknownScenario, scenario

MERCHANT = ("service", "admin")
PageOf = Callable[[str], str]


def install(api: Api, asking: Asking, refunding: Refunding, reader: Reader, faults: Faults, page_of: PageOf) -> None:
    """Declare all routes on `api`; `page_of` tells the address of a session's page."""
    _declare_sessions(api, asking, page_of)
    _declare_refunds(api, refunding)
    _declare_ledger(api, reader, page_of)
    _declare_faults(api, faults)


def _declare_sessions(api: Api, asking: Asking, page_of: PageOf) -> None:
    @api.post(
        "/sessions",
        scopes=MERCHANT,
        body=SessionIn,
        returns={200: SessionOut},
        errors=[UnknownScenario, IdempotencyMismatch],
    )
    def begin(body: SessionIn) -> Reply:
        """Ask for money, once for each attempt.

        The same attempt again is answered with the same session, as it is now.
        """
        session = asking.begin(body.parsed())
        told = scenario(session.row.scenario).tells or not scenario(session.row.scenario).charges
        return Reply(SessionOut.of(session, page_of(session.row.reference), told=told))

    @api.get("/sessions/{reference}", scopes=MERCHANT, returns={200: SessionOut}, errors=[NotFound])
    def ask(reference: str) -> Reply:
        """Look at a session, and all that happened in it."""
        return Reply(SessionOut.of(asking.ask(reference), page_of(reference)))

    @api.post("/sessions/{reference}/close", scopes=MERCHANT, returns={200: SessionOut}, errors=[NotFound])
    def close(reference: str) -> Reply:
        """Let an open session be paid no more; a payment that is under way goes on."""
        return Reply(SessionOut.of(asking.close(reference), page_of(reference)))


def _declare_refunds(api: Api, refunding: Refunding) -> None:
    @api.post(
        "/charges/{charge_id}/refunds",
        scopes=MERCHANT,
        body=RefundIn,
        returns={200: RefundOut},
        errors=[NotFound, IdempotencyMismatch],
    )
    def refund(charge_id: int, body: RefundIn) -> Reply:
        """Send all of a charge back, once for each key, and once for each charge.

        The same key again tells where its refund stands; one that was refused is tried again.
        """
        return Reply(RefundOut.of(refunding.refund(body.parsed(charge_id))))


def _declare_ledger(api: Api, reader: Reader, page_of: PageOf) -> None:
    @api.get("/ledger", scopes=MERCHANT, query=LedgerQuery, returns={200: LedgerPage}, errors=[Invalid])
    def ledger(query: LedgerQuery) -> Reply:
        """List everything that was asked for, taken and sent back, oldest first."""
        after = decode_cursor(query.cursor)[0] if query.cursor is not None else 0
        found = reader.list(query.limit + 1, after)
        items = tuple(SessionOut.of(one, page_of(one.row.reference)) for one in found[: query.limit])
        more = len(found) > query.limit
        return Reply(LedgerPage(items=items, next_cursor=encode_cursor(items[-1].session_id) if more else None))


def _declare_faults(api: Api, faults: Faults) -> None:
    @api.put("/faults", scopes=("admin",), body=FaultsIn, returns={200: FaultsOut})
    def set_faults(body: FaultsIn) -> Reply:
        """Have these faults from now on, and no others."""
        return Reply(FaultsOut.of(faults.set(body.seed, round(body.longest * 1000), body.probabilities())))

    @api.get("/faults", scopes=MERCHANT, returns={200: FaultsOut})
    def get_faults() -> Reply:
        """Look which faults there are, and what they did."""
        return Reply(FaultsOut.of(faults.report()))
