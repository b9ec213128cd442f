"""What both loads need: users with tokens of their own, goods in plenty, a sale.

Of a deployment that `./scripts/up` runs in `ORDERS_DATA_DIR` (default `var`), on ports from `LOAD_PORT_BASE` (8001) on.
"""

import json
import os
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import jwt

HOST = "127.0.0.1"
PORT_BASE = int(os.environ.get("LOAD_PORT_BASE", "8001"))
ORDER, STOCK, GOODS, FLASH = PORT_BASE, PORT_BASE + 1, PORT_BASE + 2, PORT_BASE + 6
PLENTY = 10**9  # pieces
_LASTS = 3600  # seconds, of a token and of a sale


def operator_key() -> jwt.PyJWK:
    """Return what tokens of the deployment are signed with by who runs it."""
    path = Path(os.environ.get("ORDERS_DATA_DIR", "var")) / "keys" / "operator" / "key.json"
    return jwt.PyJWK(json.loads(path.read_text(encoding="ascii")))


def token(user: str, scope: str, key: jwt.PyJWK) -> str:
    """Return a bearer token of one user, as `./scripts/token` makes it."""
    now = time.time()
    claims = {"iss": "orders/process/operator", "sub": user, "scope": scope, "aud": "orders", "exp": now + _LASTS}
    return jwt.encode(claims, key.key, algorithm="EdDSA", headers={"kid": key.key_id})


def call(port: int, method: str, path: str, bearer: str, body: Any = None) -> Any:
    """Make one call; return the body of its answer. Raise `RuntimeError` unless it is a success."""
    connection = HTTPConnection(HOST, port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status not in {200, 201, 202}:
        raise RuntimeError(f"{method} {path}: {answer.status} {text}")
    return json.loads(text)


def new_goods(key: jwt.PyJWK) -> str:
    """Create goods with stock in plenty; return their id."""
    admin = token("load", "admin", key)
    body = {"name": "Tea", "unit_price": 250, "currency": "EUR"}
    goods_id = str(call(GOODS, "POST", "/goods", admin, body)["goods_id"])
    call(STOCK, "PUT", f"/stock/{goods_id}", admin, {"total": PLENTY})
    return goods_id


def open_sale(pieces: int, key: jwt.PyJWK) -> str:
    """Open a flash sale that has begun, one piece for each user; return its id."""
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + after)) for after in (-_LASTS, _LASTS))
    terms = {"goods_id": new_goods(key), "quantity": pieces, "unit_price": 99, "starts_at": begin, "ends_at": end}
    return str(call(FLASH, "POST", "/flash-sales", token("load", "admin", key), terms)["sale_id"])


def outcome_of(where: str, bearer: str, *, within: float = 120.0) -> str:
    """Return what became of an order request: created, refused or failed; queued where it took too long (seconds)."""
    deadline = time.monotonic() + within
    while (state := str(call(ORDER, "GET", where, bearer)["state"])) == "queued" and time.monotonic() < deadline:
        time.sleep(0.1)
    return state
