"""Databases for tests: SQLite files by default, fresh databases of a real MySQL or MariaDB where that is asked for.

ORDERS_TEST_MYSQL names a server and somebody who may make databases whose names begin with `test_`, for example
mysql+pymysql://root@127.0.0.1:3306/. With ORDERS_TEST_DATABASE=mysql the tests of the use cases run on it too.
"""

import itertools
import os
import uuid
from pathlib import Path
from typing import ClassVar

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url


class Databases:
    """Databases that this process makes on a server; its dialect says how."""

    _create: ClassVar[str]
    _drop: ClassVar[str]

    def __init__(self, url: str) -> None:
        self._url: URL = make_url(url)
        self._engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._names = (f"test_{uuid.uuid4().hex[:12]}_{number}" for number in itertools.count())
        self._made: list[str] = []

    def create(self) -> str:
        """Return the URL of a new, empty database."""
        name = next(self._names)
        self.execute(self._create.format(name))
        self._made.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """Run one statement as the user of the server's URL."""
        with self._engine.connect() as connection:
            connection.execute(text(statement))

    def close(self) -> None:
        """Drop what was made."""
        for name in self._made:
            self.execute(self._drop.format(name))
        self._engine.dispose()


class Server(Databases):
    """A MySQL or MariaDB server. The default collation of its databases is one that we must not depend on."""

    _create = "CREATE DATABASE {} CHARACTER SET latin1 COLLATE latin1_swedish_ci"
    _drop = "DROP DATABASE {}"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._kept: dict[str, tuple[str, Path]] = {}

    def kept(self, directory: Path, name: str) -> str:
        """Return a database for `name`; a new `directory` (that is: a new test) finds its tables empty."""
        url, last = self._kept.get(name, (None, None))
        if url is None:
            url = self.create()
            self.execute(f"ALTER DATABASE {make_url(url).database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        elif last != directory:
            self._empty(url)
        self._kept[name] = (url, directory)
        return url

    @staticmethod
    def _empty(url: str) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("SET foreign_key_checks = 0"))
            for table in connection.scalars(text("SHOW TABLES")).all():
                connection.execute(text(f"DELETE FROM `{table}`"))  # noqa: S608 - of our own
        engine.dispose()


class UseCaseDatabases:
    """Where the tests of use cases have their databases."""

    def __init__(self) -> None:
        self._server: Server | None = None

    def url(self, directory: Path, name: str) -> str:
        """Return the URL of a database that is this test's: the same for the same directory and name."""
        if os.environ.get("ORDERS_TEST_DATABASE", "sqlite") == "sqlite":
            return f"sqlite:///{directory}/{name}.db"
        if self._server is None:
            self._server = Server(os.environ["ORDERS_TEST_MYSQL"])
        return self._server.kept(directory, name)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


USE_CASES = UseCaseDatabases()


def database_url(directory: Path, name: str) -> str:
    """See `UseCaseDatabases.url`."""
    return USE_CASES.url(directory, name)
