"""A PostgreSQL of the tests' own, for the library's contract; and the databases that this process made on it.

ORDERS_TEST_POSTGRESQL names a server and somebody who may make databases there, for example
postgresql+psycopg://me@127.0.0.1:5432/postgres; `own` has one started, from the programs of Debian's package.
"""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from ops.waiting import wait_for
from tests.databases import Databases

VARIABLE = "ORDERS_TEST_POSTGRESQL"
_WITHIN = 60.0  # seconds for a start


class PostgreSQL(Databases):
    """A PostgreSQL server. Its databases are dropped whatever is still connected to them."""

    _create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
    _drop = "DROP DATABASE {} WITH (FORCE)"


def server() -> PostgreSQL:
    """Return the server that is named, or one of our own; skip the test where neither is wanted."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        pytest.skip(f"{VARIABLE} names no server; `own` has one started")
    return PostgreSQL(_own() if wanted == "own" else wanted)


@cache
def _own() -> str:
    """Start a server for as long as this process lives; return its URL."""
    programs = _programs()
    root = Path(tempfile.mkdtemp(prefix="orders-postgresql-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    as_somebody: Sequence[str] = ()
    if os.geteuid() == 0:  # which PostgreSQL refuses to be
        user = next(name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()})
        shutil.chown(root, user)
        as_somebody = ("setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups")
    data = root / "data"
    made = [*as_somebody, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "tests", "-E", "UTF8", "-N"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=root)
    listens = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={root}", "-c", "max_connections=200")
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_somebody, str(programs / "postgres"), "-D", str(data), *listens], stdout=log, stderr=log, cwd=root
        )
    atexit.register(process.wait)
    atexit.register(process.send_signal, 2)  # SIGINT: a fast shutdown, which waits for no client
    ready = [str(programs / "pg_isready"), "-q", "-h", str(root)]
    wait_for("PostgreSQL to be ready", lambda: subprocess.run(ready, check=False).returncode == 0, within=_WITHIN)
    return f"postgresql+psycopg://tests@/postgres?host={root}"


def _programs() -> Path:
    """Return where the newest PostgreSQL is that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        pytest.fail("PostgreSQL is not installed: apt-get install --no-install-recommends postgresql")
    return found[-1]
