"""`orders up --order 2 --stock 2`, from the command line: started, shown, compared and stopped like one of each."""

import json
import os
import signal
from pathlib import Path

import pytest

from ops.deployment import Deployment, Plan, free_port_base
from ops.plan import Gateway
from ops.supervisor import is_alive
from tests.e2e.test_command_line import answered, orders
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("drills/test_instances.py has several on real servers")]

_INSTANCES = {"order": 2, "stock": 2}
_PLAN = Plan(instances=_INSTANCES, console=True, gateway=Gateway())
_NAMES = list(_PLAN.ports)


def test_up_status_reconcile_down(tmp_path: Path) -> None:
    """Every command knows every instance, also `reconcile --repair` while the first order instance is down."""
    base = free_port_base(_INSTANCES)
    up = orders("up", "--detach", "--port-base", str(base), "--order", "2", "--stock", "2", data_dir=tmp_path)
    try:
        assert up.returncode == 0, up.stderr
        assert f"http://127.0.0.1:{base + 100}" in up.stdout
        status = answered(orders("status", "--json", data_dir=tmp_path))
        processes = {service["name"]: service for service in status["services"]}
        assert list(processes) == _NAMES
        assert {service["state"] for service in status["services"]} == {"ready"}
        ports = {service["name"]: service["port"] - base for service in status["services"]}
        assert ports == {
            "gateway": -1,
            "console": 7,
            "order": 0,
            "order-2": 100,
            "stock": 1,
            "stock-2": 101,
            "goods": 2,
            "coupon": 3,
            "pay": 4,
            "flash": 6,
            "sandbox": 9,
            "user": 5,
        }
        deployment = Deployment.find(tmp_path)
        with deployment.client("alice") as alice:
            goods_id = alice.get("goods", "/goods")["items"][0]["goods_id"]
            order = alice.post("order-2", "/orders", {"items": [{"goods_id": goods_id, "quantity": 1}]})
            assert alice.get("order", f"/orders/{order['order_id']}") == order
        os.kill(processes["order"]["pid"], signal.SIGKILL)
        repaired = orders("reconcile", "--repair", data_dir=tmp_path)
        assert repaired.returncode == 0, repaired.stdout
        eventually(lambda: orders("status", data_dir=tmp_path).returncode == 0, within=20)
    finally:
        down = orders("down", data_dir=tmp_path)
    assert down.returncode == 0
    assert not any(is_alive(service["pid"]) for service in processes.values())
    assert {f"{name}.log" for name in _NAMES} <= {path.name for path in (tmp_path / "log").iterdir()}
    assert json.loads(orders("status", "--json", data_dir=tmp_path).stdout)["running"] is False
