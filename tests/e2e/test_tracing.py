"""Traces of real processes, as a collector gets them: one for each order, also after its process was killed."""

import json
import re
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ops.client import Client, Unreachable
from ops.deployment import Deployment, Plan, free_port_base
from tests.collector import Collector, Got, collecting
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, running
from tests.e2e.test_flash_sales import opened
from tests.stack import servers
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.in_turn, pytest.mark.timeout(180)]

_WITHIN = 20.0  # seconds for a span to arrive: it is sent half a second after its end


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Deployment]:
    """Run a deployment that sends its traces there."""
    extra = QUICK | {"trace": collector.url, "transaction_deadline": 1.0, "sweep_interval": 1.0}
    plan = Plan(free_port_base(), pay_timeout=3600.0, extra=extra, servers=servers())
    with running(Deployment(tmp_path_factory.mktemp("traced"), plan)) as deployment:
        yield deployment


@pytest.fixture
def shop(traced: Deployment) -> Iterator[Shop]:
    """Return that deployment, all of it up again after what the last test killed, and what a test wants of it."""
    traced.supervisor.wait_ready()
    shop = Shop(traced)
    yield shop
    shop.close()


def new_trace() -> tuple[str, str]:
    """Return the id of a trace, and the `traceparent` of a client that has it sent."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01"


def order(client: Client, goods_id: str, traceparent: str, **headers: str) -> dict[str, str]:
    """Place an order in a trace."""
    body = {"items": [{"goods_id": goods_id, "quantity": 2}]}
    placed: dict[str, str] = client.post("order", "/orders", body, traceparent=traceparent, **headers)
    return placed


def the(collector: Collector, name: str, trace_id: str, service: str | None = None) -> Got:
    """Wait for the span of a name in a trace; return it."""
    return eventually(lambda: collector.find(name, trace_id, service), within=_WITHIN)[0]


def test_an_order_is_one_trace_across_services_messages_and_databases(shop: Shop, collector: Collector) -> None:
    """From the client's traceparent to the half message, the deduction, the rows, the resolution and the timeout."""
    trace_id, traceparent = new_trace()
    placed = order(shop.user(), shop.goods(), traceparent)
    request = the(collector, "POST /orders", trace_id)
    assert (request.service, request.kind, request.parent) == ("order", "server", traceparent.split("-")[2])
    assert request.attributes["http.response.status_code"] == 201
    batch = the(collector, "place orders", trace_id)
    assert batch.parent == request.span_id
    half = the(collector, "send half message order_rollback", trace_id)
    assert (half.service, half.kind, half.parent) == ("order", "producer", batch.span_id)
    assert half.attributes["messaging.system"] == "rocketmq"
    assert half.attributes["messaging.operation.type"] == "send"
    assert half.attributes["messaging.destination.name"] == "order_rollback"
    assert half.attributes["messaging.rocketmq.message.type"] == "transaction"
    assert half.attributes["messaging.rocketmq.message.keys"] == [placed["order_id"]]
    deduction = the(collector, "POST /reservations", trace_id, "stock")
    calls = {span.span_id: span for span in collector.find("POST", trace_id, "order")}
    assert deduction.parent in calls
    local = the(collector, "local transaction", trace_id, "order")
    rows = {span.name.split()[0] for span in collector.spans(trace_id) if span.parent == local.span_id}
    assert "INSERT" in rows  # then the database's name, of which real servers have one for each deployment
    assert the(collector, "rollback order_rollback", trace_id).attributes["messaging.operation.type"] == "settle"
    timeout = the(collector, "send order_timeout", trace_id)
    assert timeout.attributes["messaging.rocketmq.message.type"] == "delay"


def test_a_trace_holds_no_receiver_and_no_token(shop: Shop, collector: Collector) -> None:
    """Statements are traced without their values, calls without their headers."""
    trace_id, traceparent = new_trace()
    receiver = {"name": "Ada Lovelace", "phone": "+44 20 7946 0000", "address": "12 St James's Square"}
    body = {"items": [{"goods_id": shop.goods(), "quantity": 1}], "receiver": receiver}
    bearer = shop.bearer()
    headers = bearer | {"traceparent": traceparent, "Content-Type": "application/json"}
    assert shop.raw("order", "POST", "/orders", body=json.dumps(body).encode(), headers=headers).status == 201
    the(collector, "POST /orders", trace_id)
    told = str(collector.spans(trace_id))
    assert "receiver_name" in told
    assert not [secret for secret in (*receiver.values(), bearer["Authorization"].split()[1]) if secret in told]


def test_a_cancelled_order_is_released_in_the_trace_that_cancelled_it(shop: Shop, collector: Collector) -> None:
    """Stock's consumer goes on with the trace that the message carries, and is linked to who sent it."""
    user = shop.user()
    placed = order(user, shop.goods(), new_trace()[1])
    trace_id, traceparent = new_trace()
    user.post("order", f"/orders/{placed['order_id']}/cancel", traceparent=traceparent)
    half = the(collector, "send half message order_rollback", trace_id)
    release = the(collector, "process order_rollback", trace_id, "stock")
    assert release.kind == "consumer"
    assert release.parent == half.span_id
    assert (trace_id, half.span_id) in release.links
    assert any(span.parent == release.span_id for span in collector.spans(trace_id))


def test_a_timeout_goes_on_with_the_trace_of_its_order(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> None:
    """The delayed message carries the order's trace, and closing the order is part of it."""
    plan = Plan(free_port_base(), pay_timeout=0.5, extra=QUICK | {"trace": collector.url}, servers=servers())
    with running(Deployment(tmp_path_factory.mktemp("timeout"), plan)) as deployment:
        shop = Shop(deployment)
        trace_id, traceparent = new_trace()
        order(shop.user(), shop.goods(), traceparent)
        timeout = the(collector, "process order_timeout", trace_id, "order")
        assert timeout.parent == the(collector, "send order_timeout", trace_id).span_id
        the(collector, "process order_rollback", trace_id, "stock")
        shop.close()


def test_an_order_request_is_placed_in_the_trace_of_who_submitted_it(shop: Shop, collector: Collector) -> None:
    """Taken in by one message, placed by its consumer: both are of the client's trace."""
    trace_id, traceparent = new_trace()
    order(shop.user(), shop.goods(), traceparent, Prefer="respond-async")
    the(collector, "take in order requests", trace_id)
    message = the(collector, "send half message order_request", trace_id)
    worked_off = the(collector, "process order_request", trace_id)
    assert worked_off.parent == message.span_id
    assert the(collector, "place orders", trace_id).parent == worked_off.span_id


def test_a_purchase_in_a_flash_sale_is_one_trace(shop: Shop, collector: Collector) -> None:
    """From the buyer's call to the pieces taken, the message, and the order that is placed for it."""
    sale_id, _ = opened(shop, 5)
    trace_id, traceparent = new_trace()
    shop.user().post("flash", f"/flash-sales/{sale_id}/orders", traceparent=traceparent)
    batch = the(collector, "buy", trace_id, "flash")
    half = the(collector, "send half message flash_purchase", trace_id, "flash")
    assert half.parent == batch.span_id
    assert the(collector, "local transaction", trace_id, "flash").parent == batch.span_id
    assert the(collector, "commit flash_purchase", trace_id, "flash").parent == batch.span_id
    placing = the(collector, "process flash_purchase", trace_id, "order")
    assert placing.parent == half.span_id
    assert the(collector, "place orders", trace_id, "order").parent == placing.span_id


def test_after_a_kill_the_check_back_and_the_release_are_in_the_trace_of_the_order(
    shop: Shop, collector: Collector
) -> None:
    """Killed after the deduction: another process goes on with the trace, by what the half message carries."""
    deployment, user, tea = shop.deployment, shop.user(), shop.goods()
    supervisor = deployment.supervisor
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=delay:60"})
    supervisor.wait_ready("order")
    trace_id, traceparent = new_trace()
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(order, user, tea, traceparent)
        half = the(collector, "send half message order_rollback", trace_id)
        the(collector, "POST /reservations", trace_id, "stock")
        old = supervisor.pid("order")
        supervisor.kill("order", signal.SIGKILL)
        with pytest.raises(Unreachable):
            request.result()
    check = the(collector, "check-back order_rollback", trace_id)
    assert check.parent == half.span_id
    assert (trace_id, half.span_id) in check.links
    release = the(collector, "process order_rollback", trace_id, "stock")
    assert (trace_id, half.span_id) in release.links

    def answers() -> list[object]:
        return [span.attributes["orders.check_back.answer"] for span in collector.find(check.name, trace_id)]

    eventually(lambda: answers()[-1] == "commit", within=_WITHIN)  # one that came too early for an answer is before it
    assert supervisor.pid("order") != old
    assert shop.available(tea) == 10


def test_orders_of_one_batch_are_found_from_each_of_their_traces(shop: Shop, collector: Collector) -> None:
    """What another order's batch did is linked: in both directions, and by an attribute for Zipkin."""
    user, tea = shop.user(), shop.goods(stock=100)
    traces = [new_trace() for _ in range(24)]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda of: order(user, tea, of[1]), traces))

    def follower() -> list[Got]:
        known = {trace_id for trace_id, _ in traces}
        return [span for span in collector.find("place orders (in a batch)") if span.trace_id in known]

    told = eventually(follower, within=_WITHIN)[0]
    ((batch_trace, batch_span),) = told.links
    assert told.attributes["orders.batch.trace_id"] == batch_trace
    batch = eventually(
        lambda: [span for span in collector.find("place orders", batch_trace) if span.span_id == batch_span],
        within=_WITHIN,
    )[0]
    assert told.parent in {span_id for _, span_id in batch.links}


def test_sweeps_have_traces_and_looks_for_what_is_due_have_none(shop: Shop, collector: Collector) -> None:
    """Each sweep is a trace of its own; what leases and looks ask the database begins none."""
    sweep = eventually(lambda: collector.find("sweep", service="order"), within=_WITHIN)[0]
    assert sweep.parent == ""
    roots = {span.name for span in collector.spans() if not span.parent and span.kind == "client"}
    assert roots == set()
    assert shop.deployment.plan.urls


def test_log_lines_carry_the_ids_of_their_trace(shop: Shop, collector: Collector) -> None:
    """What a request logs is found by its trace, in each service."""
    trace_id, traceparent = new_trace()
    order(shop.user(), shop.goods(), traceparent)
    for service in ("order", "stock"):
        log = shop.deployment.directory.log(service)

        def lines(log: object = log) -> list[dict[str, str]]:
            read = [json.loads(line) for line in log.read_text().splitlines() if trace_id in line]  # type: ignore[attr-defined]
            return [line for line in read if line["event"] == "request"]

        assert re.fullmatch("[0-9a-f]{16}", eventually(lines)[0]["span_id"])
    the(collector, "POST /orders", trace_id)


def test_metrics_name_a_trace_as_an_example(shop: Shop, collector: Collector) -> None:
    """In OpenMetrics, which Prometheus asks for; the usual text has none."""
    trace_id, traceparent = new_trace()
    order(shop.user(), shop.goods(), traceparent)
    the(collector, "POST /orders", trace_id)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    open_metrics = shop.raw("order", "GET", "/metrics", headers=shop.bearer() | accept)
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    text = open_metrics.data.decode()
    assert f'trace_id="{trace_id}"' in text
    assert text.count("# EOF\n") == 1
    assert text.endswith("# EOF\n")
    usual = shop.raw("order", "GET", "/metrics", headers=shop.bearer())
    assert usual.headers["content-type"].startswith("text/plain")
    assert b"trace_id" not in usual.data


def test_a_traceparent_that_is_none_begins_a_trace_of_our_own(shop: Shop, collector: Collector) -> None:
    """What can't be read is passed over, and what says not to be sent is not."""
    tea = shop.goods()
    placed = order(shop.user(), tea, "00-00000000000000000000000000000000-0000000000000000-01")
    eventually(lambda: [span for span in collector.spans() if placed["order_id"] in str(span)], within=_WITHIN)
    trace_id, traceparent = new_trace()
    unsampled = order(shop.user(), tea, traceparent[:-2] + "00")
    later, sampled = new_trace()
    order(shop.user(), tea, sampled)
    the(collector, "POST /orders", later)
    assert collector.spans(trace_id) == []
    assert not [span for span in collector.spans() if unsampled["order_id"] in str(span)]
