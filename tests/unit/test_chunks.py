"""Lists cut to a bound."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, bindparam, create_engine, insert, select

from halfmessage.chunks import VALUES, by_weight, chunks, rows_in
from halfmessage.participant.event import OrderEvent, in_parts


@given(st.lists(st.integers(0, 20)), st.integers(1, 15))
def test_by_weight(weights: Sequence[int], heaviest: int) -> None:
    """Everything comes, in its order; a part is too heavy only where one item is; no two would fit in one."""
    parts = list(by_weight(weights, int, heaviest))
    assert [weight for part in parts for weight in part] == weights
    assert all(part and (sum(part) <= heaviest or len(part) == 1) for part in parts)
    assert all(sum(one) + another[0] > heaviest for one, another in pairwise(parts))


@pytest.mark.parametrize(("items", "parts"), [([], []), ([1, 2], [[1, 2]]), ([1, 2, 3], [[1, 2], [3]])])
def test_chunks(items: Sequence[int], parts: Sequence[Sequence[int]]) -> None:
    """So many at most; of nothing, none."""
    assert list(chunks(items, 2)) == parts


def test_rows_in() -> None:
    """More values than a statement may name are looked up all the same, in the order given."""
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True))
    query = select(table.c.id).where(table.c.id.in_(bindparam("ids", expanding=True))).order_by(table.c.id)
    engine = create_engine("sqlite://")
    statements: list[int] = []

    class Counting:
        def execute(self, statement: object, parameters: dict[str, list[int]]) -> object:
            statements.append(len(parameters["ids"]))
            return connection.execute(statement, parameters)  # type: ignore[call-overload]

    with engine.begin() as connection:
        table.create(connection)
        connection.execute(insert(table), [{"id": number} for number in range(2 * VALUES + 1)])
        asked: Connection = Counting()  # type: ignore[assignment]
        found = rows_in(asked, query, "ids", range(2 * VALUES + 10))
    engine.dispose()
    assert [row.id for row in found] == list(range(2 * VALUES + 1))
    assert max(statements) == VALUES


def test_parts_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that names too many orders is in several parts; small ones share one."""
    monkeypatch.setattr("halfmessage.participant.event.ROWS", 3)
    events = {
        "large": OrderEvent(tx_id=1, order_ids=(1, 2, 3, 4)),
        "small": OrderEvent(tx_id=2, order_ids=(5,)),
        "other": OrderEvent(tx_id=3, order_ids=(6,)),
        "last": OrderEvent(tx_id=4, order_ids=(7,)),
    }
    parts = [[(key, event.tx_id, event.order_ids) for key, event in part] for part in in_parts(events)]
    assert parts == [
        [("large", 1, (1, 2, 3))],
        [("large", 1, (4,)), ("small", 2, (5,)), ("other", 3, (6,))],
        [("last", 4, (7,))],
    ]
