"""The databases that every run begins with: migrated once, then emptied for the next run."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from common import migrations
from halfmessage.mq.embedded.schema import prepare
from lab.simulate.coupons import COUPONS, Coupon
from lab.simulate.scheduler import BEGIN

BROKER: Final = "broker"
DATABASES: Final = ("order", "stock", "coupon", "pay")
PLENTY: Final = 1
FEW: Final = 2
"""Goods of which there are many pieces, and few."""
PIECES: Final = {PLENTY: 100, FEW: 4}
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 # nosec B108 - where files cost no disk; a folder of ours in it
_TABLES: Final = """
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('alembic_version')
ORDER BY name = 'messages', name = 'sqlite_sequence', name
"""
"""The broker's messages after what triggers would delete with them, and the numbers of the next ones last."""
_COUPON: Final = """
INSERT INTO coupons (
    coupon_id, code, kind, value, currency, minimum_amount, user_id, uses, uses_per_user, starts_at, ends_at, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Templates:
    """The files, in a folder, and the rows that are in them when a run begins."""

    def __init__(self, folder: Path, like: "Templates | None" = None) -> None:
        """Make them, or copy those of another folder with which no run was made. Raise `DatabaseUnavailable`."""
        self.folder = folder
        names = (*DATABASES, BROKER)
        if like is None:
            self._make()
        else:
            for name in names:
                shutil.copyfile(like.path(name), self.path(name))
        self._files = [_File(self.path(name)) for name in names]

    def _make(self) -> None:
        for service in DATABASES:
            migrations.upgrade(service, f"sqlite:///{self.path(service)}")
        with closing(sqlite3.connect(self.path(BROKER), isolation_level=None)) as broker:
            prepare(broker)
        self._fill()

    def _fill(self) -> None:
        now = BEGIN // 1_000_000
        with closing(sqlite3.connect(self.path("stock"))) as stock:
            rows = [(goods_id, pieces, pieces) for goods_id, pieces in PIECES.items()]
            stock.executemany("INSERT INTO stock (goods_id, total, available) VALUES (?, ?, ?)", rows)
            stock.commit()
        with closing(sqlite3.connect(self.path("coupon"))) as coupon:
            coupon.executemany(_COUPON, [(*_row(one), now) for one in COUPONS.values()])
            coupon.commit()

    def path(self, name: str) -> Path:
        """Return where a database is."""
        return self.folder / f"{name}.db"

    def reset(self) -> None:
        """Have all databases hold what they held at first; no connection to them is in a transaction."""
        for file in self._files:
            file.reset()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def _row(one: Coupon) -> tuple[object, ...]:
    rules = (one.kind, one.value, one.currency, one.minimum_amount, one.user_id, one.uses, one.uses_per_user)
    return (one.coupon_id, f"CODE{one.coupon_id}", *rules, one.starts_at, one.ends_at)


class _File:
    """One database, and its first rows. It is emptied instead of copied, so that connections to it can be kept."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        tables = [name for (name,) in self._connection.execute(_TABLES)]
        self._first = {table: self._connection.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}  # noqa: S608 # nosec B608 - names of tables of ours

    def reset(self) -> None:
        """Put the first rows in the place of all rows."""
        self._connection.execute("BEGIN IMMEDIATE")
        for table, rows in self._first.items():
            self._connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 # nosec B608
            if rows:
                values = ", ".join("?" * len(rows[0]))
                self._connection.executemany(f'INSERT INTO "{table}" VALUES ({values})', rows)  # noqa: S608 # nosec B608
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@contextmanager
def templates(like: Templates | None = None) -> Iterator[Templates]:
    """Make them in memory, where the machine has a place for that, and delete them in the end; see `Templates`."""
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="orders-simulate-", dir=where) as folder:
        made = Templates(Path(folder), like)
        try:
            yield made
        finally:
            made.close()
