"""What every service answers about itself: /healthz, /readyz, /metrics."""

from collections.abc import Callable, Collection, Mapping, Sequence

from flask import Flask

from common import tracing
from common.readiness import Check, Checks
from common.schema import Health, Readiness
from common.telemetry import Metrics
from common.web.flask_app import Answer
from common.web.requests import current_request, refuse_parameters
from halfmessage.errors import Unavailable

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OPEN_METRICS = "application/openmetrics-text"
_OPEN_METRICS_TYPE = f"{_OPEN_METRICS}; version=1.0.0; charset=utf-8"

Authorise = Callable[[Sequence[str]], object]


def install(
    app: Flask, metrics: Metrics, checks: Mapping[str, Check], authorise: Authorise, *, optional: Collection[str] = ()
) -> Callable[[], Readiness]:
    """Add the three routes to `app`; return what tells readiness, or raises `Unavailable`.

    Checks named in `optional` are told, and do not make the service unready.
    """
    needed = Checks(checks)
    has_examples = tracing.exemplar() is not None

    def healthz() -> Answer:
        refuse_parameters(current_request())
        return Answer(Health().model_dump_json(), content_type="application/json")

    def ready() -> Readiness:
        results = needed.results()
        failed = sorted(name for name, result in results.items() if result == "failed" and name not in optional)
        if failed:
            raise Unavailable(f"Not ready: {', '.join(failed)}.", checks=results)
        return Readiness.model_validate({"checks": results})

    def readyz() -> Answer:
        refuse_parameters(current_request())
        return Answer(ready().model_dump_json(), content_type="application/json")

    def show_metrics() -> Answer:
        authorise(())
        refuse_parameters(current_request())
        if has_examples and _OPEN_METRICS in current_request().headers.get("Accept", ""):
            return Answer(metrics.render_open(), content_type=_OPEN_METRICS_TYPE)
        return Answer(metrics.render(), content_type=METRICS_TYPE)

    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.add_url_rule("/metrics", view_func=show_metrics)
    return ready
