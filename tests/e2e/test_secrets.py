"""What must not be in any log: a whole story with faults in it, and then every log of every process is searched."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from common.registry import NAMES
from tests.e2e.shop import Shop, cancel, pay, place, placed
from tests.support import eventually

pytestmark = pytest.mark.e2e

RECEIVER = {"name": "Nemo Unlogged", "phone": "+00 5550199", "address": "1 Nowhere-Logged Street"}


def logs(shop: Shop) -> dict[Path, str]:
    """Return every log of the deployment."""
    return {
        file: file.read_text(encoding="utf-8", errors="replace")
        for file in shop.deployment.directory.root.rglob("*.log*")
        if file.is_file()
    }


def story(shop: Shop) -> list[str]:
    """Place, repeat, pay, cancel, break rules and authentication; return what only the parties may know."""
    secret = shop.deployment.directory.secret()
    name = shop.name()
    token = shop.deployment.token(name, ["orders"])
    user, tea = shop.user(name), shop.goods(stock=5)
    order = placed(user, {tea: 1}, receiver=RECEIVER, key="a-key-of-mine")
    assert place(user, {tea: 1}, receiver=RECEIVER, key="a-key-of-mine").status == 201
    assert pay(user, order["order_id"]).status == 200
    assert cancel(user, placed(user, {tea: 1}, receiver=RECEIVER)["order_id"]).status == 200
    assert place(user, {tea: 99}, receiver=RECEIVER).status == 409
    assert place(user, {tea: 1}, receiver=RECEIVER | {"phone": RECEIVER["phone"] * 9}).status == 422
    assert place(user, {tea: 1}, receiver=RECEIVER | {"secret": "x"}).status == 422
    headers = {"Authorization": f"Bearer {token}"}
    assert shop.raw("order", "POST", "/orders", body=RECEIVER["address"].encode(), headers=headers).status == 415
    assert shop.raw("order", "GET", f"/orders?cursor={token}", headers=headers).status == 422
    assert shop.raw("order", "GET", f"/{token}", headers=headers).status == 404
    tampered = {"Authorization": f"Bearer {token}x"}
    assert shop.raw("order", "GET", "/orders", headers=tampered).status == 401
    with shop.settings("order", failpoints="order.before_commit=raise"):
        assert place(user, {tea: 1}, receiver=RECEIVER).status == 503
    return [secret, token, token.rpartition(".")[2], *RECEIVER.values()]


def test_no_log_has_a_secret(shop: Shop) -> None:
    """Neither the secret, nor tokens, nor who gets an order, whatever went wrong."""
    hidden = story(shop)
    eventually(lambda: any("FailpointRaised" in text for text in logs(shop).values()))  # these are the right files
    assert len(logs(shop)) >= 3
    for file, text in logs(shop).items():
        for secret in hidden:
            assert secret not in text, f"{file.name} has {secret[:6]}…"


def test_no_log_has_a_password_of_a_url(shop: Shop) -> None:
    """A database, a broker or a Redis that can't be reached is named without its password."""
    password = "pass-word-of-nobody"
    changed = {"redis_url": f"redis://user:{password}@127.0.0.1:1/0"}
    with shop.settings("order", **changed):
        placed(shop.user(), {shop.goods(): 1})
        eventually(lambda: any("Redis" in text for text in logs(shop).values()))
    for file, text in logs(shop).items():
        assert password not in text, file.name


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://user:{}@127.0.0.1:1/orders",
        "nothing://user:{}@127.0.0.1/orders",
        "mysql+pymysql://user:{}@127.0.0.1:port/x",
    ],
    ids=["nobody there", "no such database", "no port"],
)
def test_a_service_that_can_not_start_does_not_tell_its_password(url: str) -> None:
    """What is printed names what is wrong, not what was set."""
    password = "pass-word-of-nobody"
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    settings = {"ORDERS_DATABASE_URL": url.format(password), "ORDERS_JWT_SECRET": password * 2, "ORDERS_PORT": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "goods"],
        env=env | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stderr
    assert password not in ran.stdout + ran.stderr


def command_lines() -> dict[int, str]:
    """Return how each process that can be looked at was called; what ended meanwhile is left out."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(file.parent.name)] = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def kept_secrets(shop: Shop) -> list[str]:
    """Return what the deployment knows and no output is to show: the key of tokens, and the passwords in its URLs."""
    settings = [shop.deployment.settings(name) for name in NAMES]
    urls = [url for each in settings for url in (each.database_url, each.broker_url, each.redis_url) if url]
    passwords = {password for url in urls if (password := urlsplit(url).password)}
    return [shop.deployment.directory.secret(), *sorted(passwords)]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_command_line_has_a_secret(shop: Shop) -> None:
    """All users of the machine may read them; an environment is its owner's."""
    lines = command_lines()
    pids = [shop.deployment.supervisor.pid(name) for name in NAMES]
    assert all(pid in lines for pid in pids)  # these are the right processes
    for secret in kept_secrets(shop):
        assert not [pid for pid, line in lines.items() if secret in line]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/no-such-path"])
def test_nothing_that_a_service_tells_of_itself_has_a_secret(shop: Shop, path: str) -> None:
    """Nor a problem, whatever the caller may see."""
    everything = shop.bearer(scopes=("orders", "admin", "service"))
    for name in NAMES:
        told = shop.raw(name, "GET", path, headers=everything)
        whole = repr(told.headers) + told.data.decode()
        assert (told.status == 404) == (path == "/no-such-path"), name
        for secret in [*kept_secrets(shop), everything["Authorization"].rpartition(" ")[2]]:
            assert secret not in whole, name
