"""Transaction records over REST: of a service that sends transactional messages, for those who look into them."""

from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from common.db import Database
from common.schema import Id, Instant, Query, Schema, parse_id
from common.web import Api, Reply
from halfmessage.tx.record import Outcome, Records

_MOST = 50  # transactions of one call


class RecordsQuery(Query):
    """Of which transactions to tell the records: up to 50 ids, with commas between."""

    tx_ids: Annotated[str, Field(pattern=f"^[0-9]{{1,19}}(,[0-9]{{1,19}}){{0,{_MOST - 1}}}$")]

    @property
    def ids(self) -> list[int]:
        """Those that may be ids."""
        found = map(parse_id, self.tx_ids.split(","))
        return [tx_id for tx_id in found if tx_id is not None]


class RecordOut(Schema):
    """How a transaction ended, and when that was decided."""

    tx_id: Id
    outcome: Outcome
    decided_at: Instant


class RecordsOut(Schema):
    """Those that are decided, and whose record is kept."""

    records: list[RecordOut]

    @classmethod
    def of(cls, decided: Mapping[int, tuple[Outcome, int]]) -> "RecordsOut":
        """Show records; `decided`: by transaction, with the time in ms since the epoch."""
        return cls(
            records=[RecordOut(tx_id=tx_id, outcome=outcome, decided_at=at) for tx_id, (outcome, at) in decided.items()]
        )


class DecisionOut(Schema):
    """How a transaction ended; null: it may still be under way, as its deadline is not past."""

    tx_id: Id
    outcome: Outcome | None


def install(api: Api, database: Database, records: Records, decide: Callable[[int], Outcome | None]) -> None:
    """Declare the routes that tell admins the records in a database; `decide` is `Checker.outcome`."""

    @api.post("/admin/records/{tx_id}/check", scopes=("admin",), returns={200: DecisionOut})
    def check(tx_id: int) -> Reply:
        """Find out how a transaction ended as a check-back does: past its deadline it is given up for good."""
        return Reply(DecisionOut(tx_id=tx_id, outcome=decide(tx_id)))

    @api.get("/admin/records", scopes=("admin",), query=RecordsQuery, returns={200: RecordsOut})
    def show_records(query: RecordsQuery) -> Reply:
        """Show how transactions ended, those that are decided."""
        with database.read() as connection:
            return Reply(RecordsOut.of(records.decided(connection, query.ids)))
