"""Schemathesis against all three services: what their OpenAPI documents promise is what they do."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.registry import NAMES
from lab.judge.judge import Judge
from ops.deployment import Deployment, Plan, free_port_base
from tests.e2e.shop import Shop, placed, running

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.embedded("what is fuzzed is REST, which knows neither broker nor database"),
]

# All checks run. Two take one status more for an answer than they do by themselves:
# 413 rejects data as well as 422 does, and 422 also tells what JSON Schema can't say: goods that are not known, a
# cursor that is no next_cursor, one goods twice, stock beyond its limit, and 1.0, which it takes for an integer.
_CHECKS = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 413, 422, 429]
"""
_FUZZER = "fuzzer"
_FUZZED = re.compile(  # made by the fuzzer in the name of the order service, or as a merchant of the sandbox's
    "does not exist, but its stock is reserved$|taken, and pay does not know of it$|"
    "does not exist, nothing is due, the provider keeps |"
    "does not exist, and its payment is (open|succeeded|refunding)$|does not exist, its payment's header is deducted$"
)
_PHASES = "examples,coverage,fuzzing,stateful"


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment of its own: the fuzzer, as a service, reserves stock for orders that never were."""
    deployment = Deployment(tmp_path_factory.mktemp("noisy"), Plan(free_port_base()))
    with running(deployment):
        yield deployment


@pytest.fixture
def shop(noisy: Deployment) -> Iterator[Shop]:
    """Return that deployment, and what a test wants of it."""
    shop = Shop(noisy)
    yield shop
    shop.close()


def fuzz(
    shop: Shop,
    service: str,
    scopes: tuple[str, ...],
    where: Path,
    *,
    examples: int,
    phases: str = _PHASES,
    config: str = "",
) -> None:
    """Run schemathesis with one token; fail with what it found."""
    (where / "schemathesis.toml").write_text(_CHECKS + config)
    run = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(where / "schemathesis.toml")),
            *("run", f"{shop.deployment.plan.urls[service]}/openapi.json"),
            *(
                "--checks",
                "all",
                "--phases",
                phases,
                "--max-examples",
                str(examples),
                "--seed",
                "20260101",
                "--no-shrink",
            ),
            *("--header", f"Authorization: {shop.bearer(_FUZZER, scopes)['Authorization']}"),
        ],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-8000:]}\n{run.stderr[-2000:]}"
    assert " passed" in run.stdout
    assert [line for line in Judge.of(shop.deployment).wrong() if _FUZZED.search(line) is None] == []


@pytest.mark.parametrize("service", NAMES)
def test_what_is_documented_is_true_for_who_may_do_everything(shop: Shop, service: str, tmp_path: Path) -> None:
    """A token of all scopes: every answer is documented, in its documented form, and never a server error."""
    admin = () if service == "sandbox" else ("admin",)  # who may have it fail on purpose, which is a server error
    fuzz(shop, service, ("orders", *admin, "service"), tmp_path, examples=6)


@pytest.mark.parametrize("service", NAMES)
def test_what_is_documented_is_true_for_who_may_do_nothing(shop: Shop, service: str, tmp_path: Path) -> None:
    """A token without scopes."""
    fuzz(shop, service, (), tmp_path, examples=3, phases="coverage,fuzzing")


def test_what_is_documented_is_true_for_an_order_that_exists(shop: Shop, tmp_path: Path) -> None:
    """The same with the ids of a real order, in the name of its owner."""
    order_id = placed(shop.user(_FUZZER), {shop.goods(): 1})["order_id"]
    fuzz(shop, "order", ("orders",), tmp_path, examples=10, config=f'[parameters]\norder_id = "{order_id}"\n')
