"""What the library adds to a transaction of one's own: the same row written bare and with a message, in turns."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, func, insert, select
from sqlalchemy.orm import Session

from halfmessage.contrib.migrations import upgrade
from halfmessage.paths import SQLITE, file_url
from halfmessage.transactional import TransactionalMessages
from halfmessage.transactional.tables import OUTBOX
from ops.errors import CommandFailed

BARE: Final = "INSERT + COMMIT"
_BODY: Final = {"order_id": 1, "total": 1999, "currency": "EUR"}
ROWS: Final = Table(
    "bench_rows", MetaData(), Column("id", Integer, primary_key=True), Column("status", String(16), nullable=False)
)

Write = Callable[[int], None]
"""Writes the row of a number, and commits."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The median time of one transaction in seconds, how many times that of a bare one it is, and each turn's ratio."""

    way: str
    seconds: float
    ratio: float
    turns: tuple[float, ...]


def measure(url: str | None, turns: int, each: int, tell: Callable[[str], None]) -> list[Cost]:
    """Write `each` rows in each way, in `turns` turns, by one thread. `url`: an empty database; None: a file of SQLite.

    Raise `CommandFailed` if a row or a message is missing at the end. Rows are deleted then; messages stay.
    """
    with _ways(url) as (engine, ways):
        times: dict[str, list[float]] = {name: [] for name in ways}
        number = 0
        for turn in range(turns):
            tell(f"turn {turn + 1} of {turns}")
            for name, write in ways.items():
                times[name].append(statistics.median(_taken(write, range(number, number + each))))
                number += each
        _look(engine, rows=number, messages=turns * each)
    bare = times[BARE]
    ratios = {name: tuple(a / b for a, b in zip(found, bare, strict=True)) for name, found in times.items()}
    return [
        Cost(name, statistics.median(found), statistics.median(ratios[name]), ratios[name])
        for name, found in times.items()
    ]


def _look(engine: Engine, *, rows: int, messages: int) -> None:
    with engine.connect() as connection:
        found = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (ROWS, OUTBOX)]
    if found != [rows, messages]:
        raise CommandFailed(
            f"{found[0]} rows and {found[1]} messages of the outbox are there, not {rows} and {messages}."
        )


def _taken(write: Write, numbers: range) -> Iterator[float]:
    for number in numbers:
        begun = time.perf_counter()
        write(number)
        yield time.perf_counter() - begun


@contextmanager
def _ways(url: str | None) -> Iterator[tuple[Engine, Mapping[str, Write]]]:
    with TemporaryDirectory(prefix="orders-bench-") as folder, ExitStack() as stack:
        engine = create_engine(url or file_url(SQLITE, Path(folder, "own.db")))
        stack.callback(engine.dispose)
        brokers = {"table://": "table://", "embedded://": file_url("embedded", Path(folder, "broker.db"))}
        senders = {
            name: stack.enter_context(closing(TransactionalMessages("bench", engine, broker=url, sends=["bench"])))
            for name, url in brokers.items()
        }  # which prepare the engine, before its first connection
        upgrade(engine)
        ROWS.create(engine)
        stack.callback(ROWS.drop, engine)
        yield (
            engine,
            {BARE: partial(_bare, engine)}
            | {f"with a message, {name}": partial(_with_message, engine, tx) for name, tx in senders.items()},
        )


def _bare(engine: Engine, number: int) -> None:
    with Session(engine) as session, session.begin():
        session.execute(insert(ROWS).values(id=number, status="paid"))


def _with_message(engine: Engine, tx: TransactionalMessages, number: int) -> None:
    with tx.message("bench", key=number) as message, Session(engine) as session, message.begin(session):
        session.execute(insert(ROWS).values(id=number, status="paid"))
        message.body = _BODY
