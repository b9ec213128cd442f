"""The command line: in processes of its own against real services, and once for each script; else in this one.

What needs no deployment and ends at once costs a tenth in this process; its outputs and exit status are the same.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from common.registry import NAMES
from ops.cli import main
from ops.deployment import Deployment, Plan, free_port_base
from ops.supervisor import is_alive
from tests.command import Done, in_process
from tests.e2e.conftest import MakeClient
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("tests/real asks the command line about a stack")]

COMMANDS = (
    "demo",
    "up",
    "down",
    "status",
    "token",
    "users",
    "forget",
    "messages",
    "sagas",
    "story",
    "flash",
    "reconcile",
    "migrate",
)
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
_PACKAGES = {"orders": "ops", "lab": "lab"}  # by what a script calls
SCRIPTS = {
    script.name: (_PACKAGES[found[1]], found[2])
    for script in sorted((ROOT / "scripts").iterdir())
    if (found := re.search(r"^(orders|lab) (\w+) ", script.read_text(), re.MULTILINE))
}
"""The scripts that run a command, each with its package and its command."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment of our own: `reconcile` is to find in it what these tests did, and nothing else."""
    running = Deployment(tmp_path_factory.mktemp("line"), Plan(free_port_base(), extra={"transaction_deadline": 2.0}))
    try:
        running.prepare()
        running.start()
        running.fill_catalogue()
        yield running
    finally:
        running.stop()


def orders(*arguments: str | Path, data_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
    where = ("--data-dir", str(data_dir)) if data_dir is not None else ()
    return subprocess.run(
        [sys.executable, "-m", "ops", *map(str, arguments), *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=ENVIRONMENT,
    )


def orders_here(*arguments: str | Path, data_dir: Path | None = None) -> Done:
    """Run a command in this process: one that needs nothing that runs."""
    where = ("--data-dir", str(data_dir)) if data_dir is not None else ()
    return in_process(main, *arguments, *where, environment={})


def answered(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def place(client: MakeClient) -> dict[str, Any]:
    alice = client("alice")
    goods = alice.get("goods", "/goods")["items"][-1]
    order: dict[str, Any] = alice.post("order", "/orders", {"items": [{"goods_id": goods["goods_id"], "quantity": 1}]})
    return order


@pytest.mark.parametrize(
    "command",
    [(), *((name,) for name in COMMANDS), ("messages", "resend"), ("messages", "resume"), ("messages", "forget"),
     *(("users", name) for name in ("list", "log-ins", "add-admin", "remove-admin", "rotate-keys")),
     *(("flash", name) for name in ("list", "show", "close", "rebuild")),
     *(("sagas", name) for name in ("list", "show", "retry", "give-up", "skip")),
     ("story", "show"), ("story", "save"), ("story", "verify")],
)  # fmt: skip
def test_everything_has_help(command: tuple[str, ...]) -> None:
    """`--help` of every command explains it, and exits with 0."""
    done = orders_here(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert "\x08" not in done.stdout
    if len(command) == 1:
        assert "Example" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_s_command_runs_as_a_process(script: str) -> None:
    """Python is started with the package, as the script does, and ends by itself: its help is that of its command."""
    package, command = SCRIPTS[script]
    words = [sys.executable, "-m", package, command, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: python -m {package} {command} [OPTIONS]")


@pytest.mark.parametrize(
    "command",
    [
        ("nonsense",),
        ("up", "--port-base", "70000"),
        ("token",),
        ("messages", "--state", "x"),
        ("users", "add-admin", "No Name"),
        ("forget",),
        ("messages", "--admin-tool"),
        ("story", "show", "x"),
        ("flash", "show", "x"),
        ("flash", "rebuild"),
        ("sagas", "show", "x"),
        ("sagas", "give-up", "1"),
        ("sagas", "skip", "1", "refund"),
        ("story", "verify"),
        ("story", "verify", "there-is-no-such-file.html"),
    ],
)
def test_wrong_usage_exits_with_2(command: tuple[str, ...]) -> None:
    """What can't be meant is told on stderr, with exit code 2."""
    done = orders_here(*command)
    assert done.returncode == 2
    assert "Error: " in done.stderr


@pytest.mark.parametrize(
    "command",
    [("token", "alice"), ("messages",), ("reconcile",), ("reconcile", "--repair"), ("messages", "resume", "1"),
     ("forget", "1"), ("flash", "list"), ("flash", "close", "1"), ("flash", "rebuild", "--all"),
     ("sagas", "list"), ("sagas", "show", "1"), ("sagas", "skip", "1", "refund", "--why", "by hand")],
)  # fmt: skip
def test_without_a_deployment_one_line_says_what_to_do(command: tuple[str, ...], tmp_path: Path) -> None:
    """Commands that need a deployment's data name the command that starts one; no traceback, no file made."""
    where = tmp_path / "var"
    first, *rest = command
    if first in {"flash", "sagas"}:
        done = orders_here(*command, data_dir=where)
    else:
        done = orders_here(first, "--data-dir", where, *rest)
    assert done.returncode == 1
    assert done.stderr == f"Error: There is no deployment in {where}: start one with: ./scripts/up --data-dir {where}\n"
    assert not where.exists()


def test_a_story_without_a_deployment(tmp_path: Path) -> None:
    """One line says what to do, and no file is made."""
    where = tmp_path / "var"
    for words in (("show", "1"), ("save", "1", "--output", tmp_path / "story.html")):
        done = orders_here("story", *words, data_dir=where)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: There is no deployment in {where}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_for_the_user_and_scope_asked_for(deployment: Deployment, data_dir: Path) -> None:
    """`orders token` prints nothing but a token that the operator's public key verifies, by a library of its own."""
    done = orders("token", "carol", "--scope", "orders admin", "--lifetime", "60", data_dir=data_dir)
    token = done.stdout.strip()
    keys = {key["kid"]: key for key in json.loads(deployment.directory.keys.public.read_text())["keys"]}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert key["owner"] == "operator"
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["EdDSA"], audience="orders")
    assert claims["sub"] == "carol"
    assert set(claims["scope"].split()) == {"orders", "admin"}
    assert 59 <= claims["exp"] - claims["iat"] <= 61


def test_a_scope_that_does_not_exist_is_refused(data_dir: Path) -> None:
    """No token is printed for a scope that means nothing."""
    done = orders_here("token", "carol", "--scope", "king", data_dir=data_dir)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "scopes are" in done.stderr


def test_the_secret_is_its_owners_alone(data_dir: Path) -> None:
    """The files that sign tokens have mode 0600: the secret, and user's database with what SQLite keeps beside it."""
    files = [data_dir / "secret", *data_dir.glob("user.db*"), *data_dir.glob("keys/*/key.json")]
    assert len(files) > 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_status_tells_every_process(deployment: Deployment, data_dir: Path) -> None:
    """`orders status --json` names each process with pid, port, state, restarts and since when."""
    status = answered(orders("status", "--json", data_dir=data_dir))
    assert status["ready"]
    assert status["supervisor"] == os.getpid()
    for service in status["services"]:
        assert service["state"] == "ready"
        assert service["pid"] == deployment.supervisor.pid(service["name"])
        assert service["port"] == deployment.plan.ports[service["name"]]
        assert service["since"].endswith("Z")
    assert [service["name"] for service in status["services"]] == list(NAMES)


def test_status_of_nothing_exits_with_3(tmp_path: Path) -> None:
    """Where nothing runs, `orders status` says so."""
    done = orders_here("status", data_dir=tmp_path)
    assert done.returncode == 3
    assert "Nothing runs" in done.stdout


def test_messages_of_an_order_are_found_by_its_id(client: MakeClient, data_dir: Path) -> None:
    """A placed order has its half message, dropped, and its timeout, delayed."""
    order = place(client)
    found = answered(orders("messages", "--key", order["order_id"], "--json", data_dir=data_dir))
    by_topic = {message["topic"]: message for message in found}
    assert by_topic.keys() == {"order_rollback", "order_timeout"}
    rollback, timeout = by_topic["order_rollback"], by_topic["order_timeout"]
    assert (rollback["state"], rollback["resolution"]) == ("done", "rollback")
    assert rollback["properties"]["deliver_if"] == "aborted"
    assert rollback["body"]["order_ids"] == [order["order_id"]]
    assert timeout["state"] == "delayed"
    assert timeout["deliver_at"] == order["expires_at"]
    delayed = answered(
        orders(
            "messages", "--topic", "order_timeout", "--state", "delayed", "--limit", "1", "--json", data_dir=data_dir
        )
    )
    assert len(delayed) == 1


def test_messages_show_as_a_table(client: MakeClient, data_dir: Path) -> None:
    """Without --json the messages are a table, and what needs attention is counted."""
    order = place(client)
    done = orders("messages", "--key", order["order_id"], data_dir=data_dir)
    assert done.returncode == 0
    assert order["order_id"] in done.stdout
    assert "2 shown" in done.stdout


def test_a_story_is_shown_saved_and_verified(client: MakeClient, data_dir: Path, tmp_path: Path) -> None:
    """In a terminal the sentence, the witnesses and the steps; a file that is intact until it is changed."""
    order = place(client)
    shown = orders("story", "show", order["order_id"], data_dir=data_dir)
    assert shown.returncode == 0, shown.stderr
    for part in ("unless it is paid before, it is closed by its timeout at", "Does the order stand? Yes.",
                 "stock: holds its part", "half message sent", "deliver_if=aborted"):  # fmt: skip
        assert part in " ".join(shown.stdout.split())
    file = tmp_path / "story.html"
    saved = orders("story", "save", order["order_id"], "--output", file, data_dir=data_dir)
    assert saved.returncode == 0, saved.stderr
    intact = orders("story", "verify", file)
    assert (intact.returncode, f"intact, order {order['order_id']}" in intact.stdout) == (0, True)
    file.write_bytes(file.read_bytes().replace(b"holds its part", b"holds nothing.", 1))
    changed = orders("story", "verify", file)
    assert (changed.returncode, "was changed" in changed.stdout) == (1, True)


def test_the_story_of_an_order_that_never_was(data_dir: Path) -> None:
    """It is refused in one line: nothing is left of one."""
    done = orders("story", "show", "12345", data_dir=data_dir)
    assert done.returncode == 1
    assert "There is no such order, and nothing is left of one." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_resending_what_is_not_dead_is_refused(client: MakeClient, data_dir: Path) -> None:
    """`resend` and `resume` tell when there is no such message in that state."""
    place(client)
    for what in ("resend", "resume"):
        done = orders("messages", "--data-dir", data_dir, what, "0000000000000001")
        assert done.returncode == 1
        assert done.stderr.startswith("Error: ")


def test_forgetting_a_group(client: MakeClient, data_dir: Path) -> None:
    """A group that is gone is forgotten; one that is ours is not, nor one that never was."""
    place(client)
    refused = orders("messages", "--data-dir", data_dir, "forget", "stock")
    assert (refused.returncode, "service of ours" in refused.stderr) == (2, True)
    unknown = orders("messages", "--data-dir", data_dir, "forget", "nobody")
    assert (unknown.returncode, unknown.stderr.startswith("Error: No consumer group")) == (1, True)


def test_a_second_up_is_refused_and_breaks_nothing(deployment: Deployment, data_dir: Path) -> None:
    """`orders up` on a running data directory names the first one's pid and ports; the first runs on."""
    before = [deployment.supervisor.pid(name) for name in NAMES]
    for extra in ((), ("--detach",)):
        done = orders("up", *extra, data_dir=data_dir)
        assert done.returncode == 1
        assert f"process {os.getpid()}" in done.stderr
        assert str(deployment.plan.port_base) in done.stderr
    assert before == [deployment.supervisor.pid(name) for name in NAMES]
    assert orders("status", data_dir=data_dir).returncode == 0


def test_a_running_deployment_is_not_reset(data_dir: Path) -> None:
    """`--reset` refuses to delete what is in use."""
    done = orders("up", "--reset", data_dir=data_dir)
    assert done.returncode == 1
    assert (data_dir / "order.db").exists()


def test_a_port_in_use_is_told_before_anything_starts(deployment: Deployment, tmp_path: Path) -> None:
    """`orders up` on a taken port says which, and what to do."""
    done = orders("up", "--port-base", str(deployment.plan.port_base), data_dir=tmp_path / "other")
    assert done.returncode == 1
    assert f"Port {deployment.plan.port_base}" in done.stderr
    assert "--port-base" in done.stderr
    assert not (tmp_path / "other" / "order.db").exists()


def test_reconcile_finds_a_healthy_deployment_healthy(client: MakeClient, data_dir: Path) -> None:
    """Orders placed, paid and cancelled leave nothing to tell; exit code 0."""
    alice = client("alice")
    place(client)
    alice.post("order", f"/orders/{place(client)['order_id']}/pay")
    alice.post("order", f"/orders/{place(client)['order_id']}/cancel")
    report = answered(orders("reconcile", "--json", data_dir=data_dir))
    assert report["clean"]
    assert report["checked"]["orders"] >= 3
    assert report["findings"] == []


@contextmanager
def planted(data_dir: Path, change: str, wrong: tuple[object, ...], right: tuple[object, ...]) -> Iterator[None]:
    """Damage the stock database behind the services' back, and mend it afterwards."""
    with closing(sqlite3.connect(data_dir / "stock.db", timeout=10, isolation_level=None)) as connection:
        connection.execute(change, wrong)
        try:
            yield
        finally:
            connection.execute(change, right)


def test_reconcile_finds_stock_that_does_not_add_up(client: MakeClient, data_dir: Path) -> None:
    """A piece that vanished from the stock is a disagreement; exit code 1."""
    goods_id = place(client)["items"][0]["goods_id"]
    change = "UPDATE stock SET available = available + ? WHERE goods_id = ?"
    with planted(data_dir, change, (-1, goods_id), (1, goods_id)):
        done = orders("reconcile", "--json", data_dir=data_dir)
        shown = orders("reconcile", data_dir=data_dir)
    assert done.returncode == shown.returncode == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["gravity"], finding["subject"], finding["id"]) == ("disagreement", "goods", goods_id)
    assert "does not add up" in shown.stdout


def test_reconcile_finds_a_paid_order_without_its_stock(client: MakeClient, data_dir: Path) -> None:
    """A reservation that was released under a paid order is a disagreement, whatever its age."""
    order = place(client)
    client("alice").post("order", f"/orders/{order['order_id']}/pay")
    change = "UPDATE reservations SET state = ? WHERE order_id = ?"
    with planted(data_dir, change, ("released", order["order_id"]), ("deducted", order["order_id"])):
        done = orders("reconcile", "--json", data_dir=data_dir)
    assert done.returncode == 1
    told = {(finding["subject"], finding["id"]) for finding in json.loads(done.stdout)["findings"]}
    assert ("order", order["order_id"]) in told


def test_repair_gives_back_the_stock_of_an_order_that_does_not_exist(client: MakeClient, data_dir: Path) -> None:
    """A reservation without an order is told; the sweep, which --repair calls, releases it."""
    order = place(client)
    service, admin = client("test", "service"), client("root", "admin")
    # Ids of this moment, next to the real order's: the sweep does not judge transactions older than its records.
    tx_id = str(int(service.get("stock", f"/reservations/{order['order_id']}")["tx_id"]) + 100)
    order_id = str(int(order["order_id"]) + 200)
    items = [{"goods_id": order["items"][0]["goods_id"], "quantity": 1}]
    service.post("stock", "/reservations", {"tx_id": tx_id, "orders": [{"order_id": order_id, "items": items}]})
    told = json.loads(orders("reconcile", "--json", "--grace", "0.001", data_dir=data_dir).stdout)
    assert order_id in {finding["id"] for finding in told["findings"] if finding["gravity"] == "disagreement"}
    eventually(lambda: orders("reconcile", "--repair", data_dir=data_dir).returncode == 0, within=30)
    assert admin.get("stock", f"/reservations/{order_id}")["state"] == "released"


@pytest.mark.timeout(300)  # seven commands and a start: on a busy machine they take minutes
def test_up_runs_until_down(tmp_path: Path) -> None:
    """`up --detach` returns ready, a killed process comes back, `down` stops all, and again says nothing runs."""
    data_dir = tmp_path / "my var"
    up = orders("up", "--detach", "--port-base", str(free_port_base()), data_dir=data_dir)
    try:
        assert up.returncode == 0, up.stderr
        assert "curl" in up.stdout
        status = answered(orders("status", "--json", data_dir=data_dir))
        pids = {service["name"]: service["pid"] for service in status["services"]}
        os.kill(pids["goods"], signal.SIGKILL)
        eventually(lambda: _pid_of(data_dir, "goods") not in {None, pids["goods"]}, within=20)
    finally:
        down = orders("down", data_dir=data_dir)
    assert down.returncode == 0
    assert down.stdout.endswith("Stopped.\n")
    assert not any(is_alive(pid) for pid in (status["supervisor"], *pids.values()))
    assert orders("status", data_dir=data_dir).returncode == 3
    assert orders("down", data_dir=data_dir).stdout == f"Nothing runs in {data_dir}.\n"
    assert orders("reconcile", data_dir=data_dir).returncode == 0


def _pid_of(data_dir: Path, name: str) -> int | None:
    state = json.loads((data_dir / "run" / "state.json").read_text())
    pids: dict[str, int | None] = {process["name"]: process["pid"] for process in state["processes"]}
    return pids[name]
