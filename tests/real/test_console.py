"""Messages of a deployment on RocketMQ and MariaDB, looked at and sent on with the command line."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import text

from common.db import Database
from common.registry import PARTICIPANTS
from halfmessage.mq.port import MessageView, State
from lab.visitor import Page, Visitor
from ops.client import Client, Unreachable
from ops.deployment import Deployment, Plan, free_port_base
from ops.stack import Stack, tenant
from tests.support import eventually

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
_SOON = {"transaction_deadline": 2.0, "retry_first_after": 1.0, "max_deliveries": 2, "sweep_interval": 3600.0}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment with a share of the stack that ORDERS_TEST_STACK names; a message dies at its second failure."""
    stack, name = Stack(Path(os.environ["ORDERS_TEST_STACK"])), f"t{uuid.uuid4().hex[:8]}"
    servers = tenant.servers(stack, name)
    deployment = Deployment(
        tmp_path_factory.mktemp("console"), Plan(free_port_base(), 3600.0, extra=_SOON, servers=servers, console=True)
    )
    try:
        deployment.prepare()
        deployment.start()
        deployment.fill_catalogue()
        yield deployment
    finally:
        deployment.stop()
        tenant.drop(stack, name)


@pytest.fixture
def alice(deployment: Deployment) -> Iterator[Client]:
    """Return a user's client."""
    with deployment.client("alice") as client:
        yield client


@pytest.fixture
def root(deployment: Deployment) -> Iterator[Visitor]:
    """Return an administrator at the web console."""
    made = Visitor(deployment.plan.urls["console"], deployment.token("root", ["orders", "admin"]))
    yield made
    made.close()


@pytest.fixture
def goods_id(alice: Client) -> str:
    """Return some goods that there are plenty of."""
    return str(alice.get("goods", "/goods")["items"][0]["goods_id"])


def orders(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops", words[0], "--data-dir", str(deployment.directory.root), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def messages(deployment: Deployment, *words: str) -> list[dict[str, Any]]:
    done = orders(deployment, "messages", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def find(deployment: Deployment, **words: Any) -> list[MessageView]:
    with deployment.open_console() as console:
        return console.find(**words)


def place(client: Client, goods_id: str) -> str:
    body = {"items": [{"goods_id": goods_id, "quantity": 2}]}
    return str(client.post("order", "/orders", body)["order_id"])


def reservation(deployment: Deployment, order_id: str) -> str:
    with deployment.client("test", ["service"]) as client:
        return str(client.get("stock", f"/reservations/{order_id}")["state"])


def findings(deployment: Deployment) -> list[str]:
    done = orders(deployment, "reconcile", "--json", "--grace", "0.1")
    assert done.returncode in {0, 1}, done.stderr
    return [f"{finding['gravity']}: {finding['what']}" for finding in json.loads(done.stdout)["findings"]]


def test_the_messages_of_an_order_and_what_became_of_them(deployment: Deployment, alice: Client, goods_id: str) -> None:
    """By key and by id: the half message that was dropped, the timeout that waits; and so says the admin tool."""
    order_id = place(alice, goods_id)
    half, timeout = sorted(messages(deployment, "--key", order_id), key=lambda view: str(view["topic"]))
    assert (half["topic"], half["state"], half["resolution"]) == ("order_rollback", "done", "rollback")
    assert (timeout["topic"], timeout["state"], timeout["keys"]) == ("order_timeout", "delayed", [order_id])
    assert timeout["deliver_at"] is not None
    assert half["properties"].keys() == {"tx_id", "deliver_if"}
    assert messages(deployment, "--id", half["message_id"]) == [half]
    told = messages(deployment, "--key", order_id, "--admin-tool")
    assert {(view["message_id"], view["state"], str(view["body"])) for view in told} == {
        (view["message_id"], view["state"], str(view["body"])) for view in (half, timeout)
    }
    assert messages(deployment, "--topic", "order_rollback", "--limit", "1")[0]["message_id"] == half["message_id"]
    assert messages(deployment, "--key", "no-such-key") == []


def test_a_service_tells_of_messages_as_the_command_line_does(
    deployment: Deployment, alice: Client, goods_id: str
) -> None:
    """The timeline has them, through the name server that the broker's URL names; so have the gauges of /metrics."""
    order_id = place(alice, goods_id)

    def entries() -> list[dict[str, Any]]:
        return list(alice.get("order", f"/orders/{order_id}/timeline")["entries"])

    eventually(lambda: not [entry for entry in entries() if not entry["known"]], within=30)  # RocketMQ indexes late
    told = {entry["evidence"]["message_id"]: entry["event"] for entry in entries() if entry["source"] == "broker"}
    assert told.keys() == {view["message_id"] for view in messages(deployment, "--key", order_id)}
    assert "timeout scheduled" in told.values()
    headers = {"Authorization": f"Bearer {deployment.token('root', ['admin'])}"}
    url = deployment.plan.urls["order"] + "/metrics"

    def gauges() -> str:  # without those whose look takes longer than a scrape waits: they are there the next time
        return urllib3.request("GET", url, headers=headers, timeout=10.0, retries=False).data.decode()

    eventually(lambda: "orders_dead_letters 0.0" in gauges(), within=30)


def dead_letter(deployment: Deployment, alice: Client, order_id: str) -> MessageView:
    """Cancel an order while stock can't release; return its dead message."""
    stock = Database(deployment.database_url("stock"))
    try:
        stock.transact(lambda connection: connection.execute(text("RENAME TABLE reservations TO hidden")))
        alice.post("order", f"/orders/{order_id}/cancel")
        (dead,) = eventually(lambda: find(deployment, state=State.DEAD), within=60)
        stock.transact(lambda connection: connection.execute(text("RENAME TABLE hidden TO reservations")))
    finally:
        stock.close()
    return dead


def test_a_dead_letter_is_resent(deployment: Deployment, alice: Client, goods_id: str) -> None:
    """Stock can't release: the message dies, reconcile tells; mended and resent it is handled, and is dead no more."""
    order_id = place(alice, goods_id)
    dead = dead_letter(deployment, alice, order_id)
    of_stock = next(group for group in dead.groups if group.group == "stock")
    assert (dead.message.keys, of_stock.state, of_stock.attempts) == ((order_id,), State.DEAD, 2)
    found = findings(deployment)
    assert any("is dead" in what for what in found)
    assert any("stock is still reserved" in what for what in found)
    assert orders(deployment, "messages", "resend", dead.message_id).returncode == 0
    again = orders(deployment, "messages", "resend", dead.message_id)
    assert (again.returncode, "No message has this id" in again.stderr) == (1, True)
    eventually(lambda: reservation(deployment, order_id) == "released", within=30)
    (view,) = eventually(lambda: find(deployment, message_id=dead.message_id, state=State.DONE), within=30)
    assert {group.group: group.attempts for group in view.groups} == dict.fromkeys(PARTICIPANTS, 1)
    with deployment.open_console() as console:
        assert console.stats().dead == 0


def sent_on(root: Visitor, message_id: str, why: str) -> Page:
    """Send a message on through the pages of the web console: dry run, reason, outcome."""
    plan = root.post("/dead/plan", root.get(f"/messages/{message_id}").form("/dead/plan"))
    assert "Nothing has been done yet." in plan.text
    return root.send(plan, "/dead/send", why=why)


def test_a_dead_letter_is_resent_through_the_web_console(
    deployment: Deployment, alice: Client, root: Visitor, goods_id: str
) -> None:
    """It is found by group and page, resent once, and its effect is seen; what RocketMQ does not tell is told."""
    order_id = place(alice, goods_id)
    dead = dead_letter(deployment, alice, order_id).message_id
    assert dead in root.get("/messages?group=stock&state=dead").text
    assert "It lists no delayed messages" in root.get("/messages").text
    assert dead in root.get("/dead").text
    sent = sent_on(root, dead, "stock is back")
    assert "1 done" in sent.text
    eventually(lambda: reservation(deployment, order_id) == "released", within=30)
    eventually(lambda: "seen" in root.get(sent.path).text, within=30)
    assert "stock is back" in root.get(f"/messages/{dead}").text
    with deployment.open_console() as console:
        assert console.stats().dead == 0


def test_a_parked_half_message_is_resumed(deployment: Deployment, alice: Client, root: Visitor, goods_id: str) -> None:
    """No producer answers until RocketMQ gives up; resumed on a page, it is asked about and ends as its record says."""
    before = alice.get("stock", f"/stock/{goods_id}")["available"]
    supervisor = deployment.supervisor
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=kill"})
    supervisor.wait_ready("order")
    supervisor.hold("order")
    with pytest.raises(Unreachable):
        place(alice, goods_id)
    (half,) = eventually(lambda: find(deployment, state=State.HALF), within=10)
    order_id = half.message.keys[0]
    (parked,) = eventually(lambda: find(deployment, state=State.PARKED), within=150)
    assert (parked.message_id, parked.check_count) == (half.message_id, 60)
    assert any("is parked" in what for what in findings(deployment))
    supervisor.release("order")
    supervisor.wait_ready("order")
    assert parked.message_id in root.get("/dead").text
    sent = sent_on(root, parked.message_id, "order is back")
    assert "1 done" in sent.text
    assert orders(deployment, "messages", "resume", parked.message_id).returncode == 1
    eventually(lambda: reservation(deployment, order_id) == "released", within=30)
    (view,) = eventually(lambda: find(deployment, message_id=parked.message_id, state=State.DONE), within=30)
    assert (view.resolution and view.resolution.value, view.check_count < 60) == ("commit", True)
    assert alice.get("stock", f"/stock/{goods_id}")["available"] == before
    eventually(lambda: "seen" in root.get(sent.path).text, within=30)
    eventually(lambda: not findings(deployment), within=30)
