"""docs/library/fastapi.md followed to the letter, in real processes that are killed."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import create_engine, text

from tests.support import eventually

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.embedded("the page's own broker")

# Dies where the transaction is committed and the broker not told yet, as of kill -9.
_ARMED = """
from halfmessage import failpoints
from app import app

failpoints.arm("order_paid.committed=kill", ["order_paid.committed"])
"""


@contextmanager
def served(home: Path, app: str, port: int) -> Iterator[None]:
    """Serve an app of a directory until the block ends, with a SIGKILL."""
    words = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), app]
    environment = {**os.environ, "PYTHONPATH": f"{home}:{ROOT}"}
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(words, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(lambda: answers(port, "/docs"), within=30)
            yield
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def answers(port: int, path: str, method: str = "GET") -> int:
    """Return the status of an answer, 0 for none."""
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", method=method), timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0


def test_the_page(tmp_path: Path) -> None:
    """Each order that stands has one mail: one that was acknowledged, and one that died after COMMIT."""
    page = (ROOT / "docs/library/fastapi.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n# app\.py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    (tmp_path / "armed.py").write_text(_ARMED, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with served(tmp_path, "app:app", port):
        assert answers(port, "/orders/1/pay", "POST") == 201
        assert answers(port, "/orders/1/pay", "POST") == 500, "the database has it once"
    with served(tmp_path, "armed:app", port):
        assert answers(port, "/orders/2/pay", "POST") == 0
    database = create_engine(f"sqlite:///{tmp_path}/shop.db")

    def column(query: str) -> list[int]:
        with database.connect() as connection:
            return sorted(connection.scalars(text(query)))

    with served(tmp_path, "app:app", port):
        eventually(lambda: column("SELECT order_id FROM mails") == [1, 2], within=60)
    assert column("SELECT id FROM orders") == [1, 2]
