"""`orders up --trace`: a real Zipkin shows the trace of an order, also after its process was killed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ops.deployment import Deployment, free_port_base
from ops.runstate import Phase
from ops.stack import zipkin
from tests.e2e.shop import Shop
from tests.e2e.test_tracing import new_trace, order
from tests.support import eventually

pytestmark = [pytest.mark.in_turn, pytest.mark.timeout(600)]

_WITHIN = 60.0  # seconds
_QUICK = {"ORDERS_CHECK_FIRST_AFTER": "0.5", "ORDERS_CHECK_INTERVAL": "0.5", "ORDERS_TRANSACTION_DEADLINE": "1"}


def orders(*words: str) -> str:
    """Run a command line to its end; return what it said."""
    unset = {"ORDERS_STACK_DIR", "ORDERS_TRACE"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | _QUICK
    command = [sys.executable, "-m", "ops", *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Start everything as a user would; return where, and what `up` said."""
    place = tmp_path_factory.mktemp("up") / "data"
    where = ("--data-dir", str(place))
    try:
        yield place, orders("up", "--trace", "--detach", "--port-base", str(free_port_base()), *where)
    finally:
        assert "Zipkin is stopped." in orders("down", "--all", *where)
        assert zipkin.Zipkin(place / "stack").url is None


def names(url: str, trace_id: str) -> set[tuple[str, str]]:
    """Return the services and names of a trace's spans, as Zipkin tells them: in small letters."""
    answer = urllib3.request("GET", f"{url}/api/v2/trace/{trace_id}", retries=False, timeout=10.0)
    spans: list[dict[str, Any]] = answer.json() if answer.status == 200 else []
    assert all(span["traceId"] == trace_id for span in spans)
    return {(span["localEndpoint"]["serviceName"], span["name"]) for span in spans}


def wait_for(url: str, trace_id: str, *wanted: tuple[str, str]) -> None:
    """Wait until a trace has these spans."""
    eventually(lambda: set(wanted) <= names(url, trace_id), within=_WITHIN)


def test_zipkin_shows_the_trace_of_an_order_and_of_its_check_back(said: tuple[Path, str]) -> None:
    """Its address is printed; the spans of all services are in one trace, those after a kill -9 too."""
    place, told = said
    (url,) = re.findall("^Traces: (http://127.0.0.1:[0-9]+)$", told, re.MULTILINE)
    shop = Shop(Deployment.find(place))
    try:
        trace_id, traceparent = new_trace()
        order(shop.user(), shop.goods(), traceparent)
        wait_for(
            *(url, trace_id, ("order", "post /orders"), ("order", "send half message order_rollback")),
            *(("stock", "post /reservations"), ("stock", "insert stock"), ("order", "local transaction")),
        )
        trace_id, traceparent = new_trace()
        order(shop.user(), shop.goods(), traceparent, Prefer="respond-async")
        (process,) = [one for one in shop.deployment.directory.state().processes if one.name == "order"]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_for(url, trace_id, ("order", "process order_request"), ("stock", "post /reservations"))
        eventually(lambda: _state(shop) is Phase.READY, within=_WITHIN)
    finally:
        shop.close()


def _state(shop: Shop) -> Phase:
    return next(one.state for one in shop.deployment.directory.state().processes if one.name == "order")
