"""How a deployment is to run: instances, their names and their ports."""

from pathlib import Path

import pytest

from common.registry import MOST_INSTANCES, NAMES, PARTICIPANTS, SERVICES
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.plan import Gateway, Plan, free_port_base, ports_are_free


def test_one_of_each() -> None:
    """Unless told otherwise each service runs once, named as itself, on ports in a row that begin at the base."""
    plan = Plan(port_base=9001)
    assert plan.processes == {name: name for name in NAMES}
    assert plan.ports == {service.name: service.port + 1000 for service in SERVICES}
    assert plan.addresses("stock") == "http://127.0.0.1:9002"


def test_several_instances() -> None:
    """Further instances are numbered from 2; the first keeps its name and port."""
    plan = Plan(port_base=9001, instances={"order": 3, "stock": 2})
    assert list(plan.processes)[:6] == ["order", "order-2", "order-3", "stock", "stock-2", "goods"]
    assert plan.ports.items() >= {
        "order": 9001, "stock": 9002, "goods": 9003, "order-2": 9101, "stock-2": 9102, "order-3": 9201
    }.items()  # fmt: skip
    assert plan.instances_of("stock") == ["stock", "stock-2"]
    assert plan.addresses("stock") == "http://127.0.0.1:9002,http://127.0.0.1:9102"


def test_a_port_depends_on_the_name_alone() -> None:
    """An instance keeps its port when another service gets more or fewer instances, and no two have the same."""
    few, many = Plan(instances={"stock": 2}), Plan(instances={"order": 5, "stock": 3, "goods": 2})
    assert few.ports.items() <= many.ports.items()
    assert len(set(many.ports.values())) == len(many.ports)


def _without(participant: str) -> str:
    return ",".join(name for name in PARTICIPANTS if name != participant)


def test_a_deployment_without_a_participant() -> None:
    """What the setting `participants` leaves out neither runs nor consumes, and the others keep their ports."""
    plan, whole = Plan(extra={"participants": _without("coupon")}), Plan()
    assert set(whole.services) - set(plan.services) == {"coupon"}
    assert plan.ports.items() == whole.ports.items() - {("coupon", 8004)}
    assert set(whole.subscriptions) - set(plan.subscriptions) == {("order_rollback", "coupon")}
    assert plan.addresses("coupon") == whole.addresses("coupon")
    assert Plan(extra={"participants": ", ".join(PARTICIPANTS)}).services == whole.services


@pytest.mark.parametrize(
    ("extra", "left_out"),
    [
        ({"participants": _without("pay")}, {"pay", "sandbox"}),
        ({"providers": "stripe, wechat"}, {"sandbox"}),
        ({"providers": "stripe, sandbox"}, set()),
    ],
)
def test_the_sandbox_runs_where_it_takes_money(extra: dict[str, str], left_out: set[str]) -> None:
    """Not without pay, nor where others alone are providers; order consumes payments in any case."""
    plan, whole = Plan(extra=extra), Plan()
    assert set(whole.services) - set(plan.services) == left_out
    assert ("payment_succeeded", "order_payment_succeeded") in plan.subscriptions


def test_the_console_runs_where_it_is_asked_for() -> None:
    """Stopped first, as it asks all others; other deployments are without, and keep their ports."""
    plan, without = Plan(port_base=9001, console=True), Plan(port_base=9001)
    assert list(plan.processes) == ["console", *NAMES]
    assert plan.ports.items() - without.ports.items() == {("console", 9008)}
    assert plan.subscriptions == without.subscriptions


def test_the_gateway_is_one_port_below() -> None:
    """Where it is asked for; it is no process of ours with a database, and its admin listener needs a port as well."""
    plan = Plan(port_base=9001, gateway=Gateway(tls=True, separate=True), console=True)
    assert (plan.ports["gateway"], plan.urls["gateway"]) == (9000, "https://127.0.0.1:9000")
    assert "gateway" not in plan.processes
    assert set(plan.listens.values()) - set(plan.ports.values()) == {9009}
    assert Plan.from_settings(plan.as_settings()) == plan
    assert "gateway" not in Plan(port_base=1).ports
    with pytest.raises(CommandFailed, match="from 2 to"):
        Plan(port_base=1, gateway=Gateway())


def test_a_plan_survives_the_state_file() -> None:
    """What `run/state.json` keeps makes the same plan again; one from before there were instances too."""
    plan = Plan(9001, 60.0, {"threads": 4}, {"order": 2}, console=True)
    assert Plan(**plan.as_settings()) == plan
    assert Plan(port_base=9001, pay_timeout=60.0, extra={}).processes.keys() == set(NAMES)


@pytest.mark.parametrize("instances", [{"order": 0}, {"order": MOST_INSTANCES + 1}, {"shop": 1}])
def test_impossible_instances(instances: dict[str, int]) -> None:
    """There is no such service, or not so many times."""
    with pytest.raises(CommandFailed):
        Plan(instances=instances)


def test_ports_end() -> None:
    """The last instance needs a port too."""
    assert max(Plan(port_base=65433, instances={"goods": 2}).ports.values()) == 65535
    with pytest.raises(CommandFailed, match="65433"):
        Plan(port_base=65434, instances={"goods": 2})


def test_free_ports_for_several() -> None:
    """Every port of every instance is free."""
    instances = {"order": 3, "goods": 2}
    assert ports_are_free(Plan(free_port_base(instances), instances=instances))


def test_free_ports_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deployments that start side by side share no port, though no process listens there yet."""
    first = free_port_base()
    drawn = iter([first, first + 1, first - 1, first + 50, *range(first + 51, first + 500)])
    monkeypatch.setattr("ops.plan.secrets.choice", lambda _: next(drawn))
    second = free_port_base()
    assert set(Plan(first).ports.values()).isdisjoint(Plan(second).ports.values())


def test_settings_that_a_process_would_refuse_are_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the environment too; each fault is a line that names the process and the variable."""
    monkeypatch.setenv("ORDERS_RETRY_LONGEST", "0.5")
    deployment = Deployment(tmp_path / "d", Plan(extra={"rate_limit": "10/sec"}))
    with pytest.raises(CommandFailed) as refused:
        deployment.prepare()
    told = str(refused.value)
    assert "ORDERS_RATE_LIMIT=10/sec is not one limit" in told
    assert "ORDERS_RETRY_FIRST_AFTER=1.0 is more than ORDERS_RETRY_LONGEST=0.5" in told
    assert not list(tmp_path.rglob("*.db"))
