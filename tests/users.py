"""A user service without a web server: a database of its own, a clock to be set, passwords that cost little."""

from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select

from common.db import Database
from halfmessage.clock import now_ms
from tests.databases import database_url
from tests.fakes import Ids
from user.model import metadata
from user.service.accounts import Accounts, Parts
from user.service.attempts import Attempts
from user.service.audit import Audit
from user.service.breached import Breached
from user.service.hashing import Hashing
from user.service.keys import SigningKeys
from user.service.sessions import Lifetimes, Sessions

NAME, PASSWORD, ADDRESS = "alice", "correct horse battery", "192.0.2.1"


class CheapHashing(Hashing):
    """Counts comparisons; as strong as a test needs."""

    def __init__(self) -> None:
        super().__init__(4, 32)
        self.compared: list[bool] = []

    def hash(self, password: str) -> str:
        return f"hash of {password}"

    def verify(self, hashed: str | None, password: str) -> bool:
        self.compared.append(hashed is not None)
        return hashed == f"hash of {password}"

    def is_outdated(self, hashed: str) -> bool:
        return not hashed.startswith("hash of ")


class Users:
    """The parts, wired as `user.app` does."""

    def __init__(self, folder: Path, *, hashing: Hashing | None = None, breached: Path | None = None) -> None:
        self.database = Database(database_url(folder, "user"))
        self.database.transact(metadata.create_all)
        self._now = now_ms()
        self.ids = ids = Ids()
        self.hashing = hashing or CheapHashing()
        self.keys = SigningKeys(self.database, 900.0, clock=self.now)
        self.keys.ensure()
        self.attempts = Attempts(self.database, clock=self.now)
        self.audit = Audit(self.database, ids, kept=3600.0)
        lifetimes = Lifetimes(900.0, 86_400.0)
        self.sessions = Sessions(self.database, ids, self.keys, self.audit, lifetimes, clock=self.now)
        parts = Parts(ids, self.hashing, Breached(breached), self.attempts, self.audit, self.sessions)
        self.accounts = Accounts(self.database, parts, clock=self.now)

    def now(self) -> int:
        return self._now

    def go_on(self, seconds: float) -> None:
        self._now += int(seconds * 1000)

    def rows(self, table: Table) -> int:
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0

    def all(self, table: Table) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(select(table)).mappings()]

    def close(self) -> None:
        self.database.close()
