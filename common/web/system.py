"""What every service answers about itself: /healthz, /readyz, /metrics."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog
from flask import Flask

from common.errors import OrdersError, Unavailable
from common.schema import Health, Readiness
from common.telemetry import Metrics
from common.web.flask_app import Answer

READY_WITHIN = 2.0  # seconds, for all checks together
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Authorise = Callable[[Sequence[str]], object]


def install(app: Flask, metrics: Metrics, checks: Mapping[str, Callable[[], None]], authorise: Authorise) -> None:
    """Add the three routes to `app`."""
    # One pool for all probes: a check that hangs holds one thread, not one a probe.
    pool = ThreadPoolExecutor(max_workers=max(1, len(checks)), thread_name_prefix="readyz")

    def healthz() -> Answer:
        return Answer(Health().model_dump_json(), content_type="application/json")

    def readyz() -> Answer:
        results = _run(pool, checks)
        if "failed" in results.values():
            failed = ", ".join(sorted(name for name, result in results.items() if result == "failed"))
            raise Unavailable(f"Not ready: {failed}.", checks=results)
        return Answer(Readiness.model_validate({"checks": results}).model_dump_json(), content_type="application/json")

    def show_metrics() -> Answer:
        authorise(())
        return Answer(metrics.render(), content_type=METRICS_TYPE)

    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.add_url_rule("/metrics", view_func=show_metrics)


def _run(pool: ThreadPoolExecutor, checks: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    futures = {name: pool.submit(check) for name, check in checks.items()}
    wait(futures.values(), timeout=READY_WITHIN)
    return {name: "ok" if _passed(name, future) else "failed" for name, future in futures.items()}


def _passed(name: str, future: Future[None]) -> bool:
    if not future.done():
        future.cancel()
        structlog.get_logger().warning("not ready", check=name, reason=f"no answer within {READY_WITHIN} s")
        return False
    error = future.exception()
    if error is None:
        return True
    if not isinstance(error, OrdersError):
        raise error
    structlog.get_logger().warning("not ready", check=name, reason=error.detail)
    return False
