"""A deployment of the drills' own, with short times, whose processes are killed again and again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.deployment import Deployment, Plan, free_port_base
from tests.drills.site import Site

QUICK = {
    "check_first_after": 0.4,
    "check_interval": 0.4,
    "check_max": 1000,  # nothing may be parked here: check-back alone has to settle what a kill left open
    "transaction_deadline": 1.0,
    "invisible_for": 1.5,
    "retry_first_after": 0.2,
    "retry_longest": 1.0,
    "max_deliveries": 1000,
    "sweep_interval": 3600.0,  # and no sweep may do it instead
    "goods_cache": 0.1,
    "peer_timeout": 1.0,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a deployment; stop it after the module's tests."""
    with running_site(tmp_path_factory.mktemp("drills")) as site:
        yield site


@contextmanager
def running_site(data_dir: Path, instances: Mapping[str, int] | None = None) -> Iterator[Site]:
    """Start a deployment with short times; stop it in the end."""
    plan = Plan(free_port_base(instances), pay_timeout=600, extra=QUICK, instances=instances or {})
    deployment = Deployment(data_dir, plan, say=lambda _: None)
    deployment.prepare()
    try:
        deployment.start()
        with Site(deployment) as running:
            yield running
    finally:
        deployment.stop()
