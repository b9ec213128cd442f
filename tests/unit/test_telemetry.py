"""Logs are JSON lines that hide what must not be read; metrics live in a registry of their own."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import ProcessCollector, multiprocess

from common.readiness import READY_WITHIN
from common.telemetry import METRICS_DIR, Metrics
from halfmessage.errors import BrokerError
from tests.support import eventually

_PROGRAM = """
import logging, warnings
import structlog
from common.telemetry import configure_logging
configure_logging("stock", "info")
structlog.contextvars.bind_contextvars(request_id="r1", order_id="7")
log = structlog.get_logger()
log.info("taken", token="t0p", receiver={"name": "Ann"}, quantity=2, seconds=0.5, odd={1, })
log.debug("not shown")
logging.getLogger("elsewhere").warning("old %s", "style")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
"""


def lines_of(program: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)
    assert done.stdout == b""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_one_json_object() -> None:
    """Ours, stdlib's and tracebacks alike; with time, level, service and what is bound; secrets hidden."""
    taken, old, broken = lines_of(_PROGRAM)
    assert list(taken)[:4] == ["time", "level", "service", "event"]
    assert taken["time"].endswith("Z")
    assert (taken["level"], taken["service"], taken["event"]) == ("info", "stock", "taken")
    assert (taken["request_id"], taken["order_id"], taken["quantity"]) == ("r1", "7", 2)
    assert (taken["token"], taken["receiver"]) == ("[hidden]", "[hidden]")
    assert (old["level"], old["event"], old["logger"]) == ("warning", "old style", "elsewhere")
    assert "ZeroDivisionError" in broken["exception"]


_LATE = """
from common.auth import Verifier
from common.telemetry import Metrics, configure_logging
from common.web import Api
api = Api("toy", title="", description="", max_body=1, verifier=Verifier("s" * 32), metrics=Metrics("toy"), checks={})
configure_logging("toy", "info")
api.app.test_client().get("/nowhere")
"""


def test_requests_are_logged_as_it_was_configured_after_the_api_was_made() -> None:
    """A program that builds on this may do both in any order."""
    (line,) = lines_of(_LATE)
    assert (line["service"], line["event"], line["status"]) == ("toy", "request", 404)


def test_a_full_disk_under_the_log_fails_nothing() -> None:
    """The line is lost, the work goes on."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run([sys.executable, "-c", _PROGRAM], stderr=full, check=False, timeout=30)
    assert done.returncode == 0


def test_metrics_of_two_services_in_one_process_do_not_meet() -> None:
    """Each has its own registry."""
    first, second = Metrics("a"), Metrics("b")
    first.counter("placed", "Orders placed", "outcome").labels("created").inc()
    assert b'orders_placed_total{outcome="created"} 1.0' in first.render()
    assert b"orders_placed" not in second.render()


def test_observed_gauges_are_left_out_when_they_can_t_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is down does not take the other metrics with it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    metrics = Metrics("a")
    broken = False

    def read() -> dict[str, float]:
        if broken:
            raise BrokerError
        return {"half_messages": 3, "oldest_half_seconds": 1.5}

    metrics.observe_all("Half messages unresolved", read)
    metrics.observe("dead_letters", "Dead letters", lambda: 2)
    assert b"orders_half_messages 3.0" in metrics.render()
    assert b"orders_oldest_half_seconds 1.5" in metrics.render()
    broken = True
    now[0] += 1.01
    assert b"orders_half_messages" not in metrics.render()
    assert b"orders_dead_letters 2.0" in metrics.render()


def test_scrapes_of_what_hangs_make_one_look_and_hold_few_threads() -> None:
    """Any user may scrape, and a broker that is frozen must not take all request threads."""
    metrics, looks, go_on = Metrics("a"), [], threading.Event()

    def read() -> dict[str, float]:
        looks.append(1)
        go_on.wait(30)
        return {"half_messages": 3}

    metrics.observe_all("Half messages unresolved", read)
    with ThreadPoolExecutor(64) as pool:
        began = time.monotonic()
        scrapes = [pool.submit(metrics.render) for _ in range(64)]
        eventually(lambda: sum(scrape.done() for scrape in scrapes) >= 60, within=1.5)
        assert time.monotonic() - began < READY_WITHIN
        go_on.set()
    assert len(looks) == 1
    assert b"orders_half_messages 3.0" in metrics.render()


def test_processes_share_what_they_count_in_a_directory_of_any_name(tmp_path: Path) -> None:
    """Also where its name looks like a pattern of names."""
    place = tmp_path / "run [1] *#?"
    place.mkdir()
    program = (
        "from common.telemetry import Metrics; metrics = Metrics('x'); metrics.requests.labels('GET', '/', 200).inc(); "
        "print(metrics.render().decode())"
    )
    told = ""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, METRICS_DIR: str(place)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        told = done.stdout
    assert 'orders_http_requests_total{method="GET",route="/",status="200"} 2.0' in told


_WORKER = """
import sys
from common.telemetry import Metrics
metrics = Metrics("x")
metrics.requests.labels("GET", "/", 200).inc()
metrics.latency.labels("/").observe(0.02)
metrics.in_flight.inc(3)
metrics.gauge("left_alone", "1 while it is", "peer", together="livemax").labels("stock").set(1)
print(metrics.render().decode() if sys.argv[1:] else "ready", flush=True)
sys.stdin.read()
"""


def worker(place: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, *words],
        env={**os.environ, METRICS_DIR: str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def series(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at Linux's list of processes")
def test_several_processes_answer_as_one(tmp_path: Path) -> None:
    """Whichever is asked: counts of all, also of one that died, and gauges, memory and time of those that live."""
    with worker(tmp_path) as first, worker(tmp_path) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        assert (first.stdout.readline(), second.stdout.readline()) == ("ready\n", "ready\n")
        second.kill()
        second.wait()
        multiprocess.mark_process_dead(second.pid, str(tmp_path))  # type: ignore[no-untyped-call]  # as its keeper does
        with worker(tmp_path, "show") as third:
            told, _ = third.communicate("")
        memory = next(iter(ProcessCollector(pid=lambda: first.pid, registry=None).collect())).samples[0].value
        first.communicate("")
    found = series(told)
    assert found['orders_http_requests_total{method="GET",route="/",status="200"}'] == 3
    assert found['orders_http_request_seconds_count{route="/"}'] == 3
    assert found['orders_http_request_seconds_bucket{le="0.025",route="/"}'] == 3
    assert found["orders_http_requests_in_flight"] == 6
    assert found['orders_left_alone{peer="stock"}'] == 1
    assert found["process_virtual_memory_bytes"] > 1.5 * memory
    assert 0 < found["process_start_time_seconds"] <= time.time()
    assert "# TYPE orders_http_requests_total counter" in told
    assert "# TYPE orders_http_request_seconds histogram" in told
    assert "# HELP orders_http_requests_in_flight Requests being answered now" in told
