"""Services that start while `user` is down, with the keys that it told them before. A deployment of their own."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from common.db import Database
from ops.client import Client
from ops.deployment import Deployment, Plan, free_port_base
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Raw, Shop, placed, running, slug
from tests.e2e.test_users import ask, logged_in, registered
from tests.support import eventually
from user.model import signing_keys

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("where keys are kept does not depend on other servers")]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Run a deployment whose user is gone for good, with a token of it that order took before."""
    extra: dict[str, str | float] = {**QUICK, "participants": "stock"}
    with running(Deployment(tmp_path / "shop", Plan(free_port_base(), extra=extra))) as deployment:
        shop = Shop(deployment)
        yield shop
        shop.close()


def end_user(shop: Shop) -> None:
    shop.deployment.supervisor.hold("user")
    shop.deployment.supervisor.kill("user", signal.SIGKILL)


def restart(shop: Shop) -> None:
    shop.deployment.supervisor.restart("order")
    shop.deployment.supervisor.wait_ready("order")


def orders(shop: Shop, token: str) -> Raw:
    return ask(shop, "GET", "/orders", token=token, service="order")


def test_tokens_from_before_are_good_in_a_service_that_starts(shop: Shop) -> None:
    """Also to order; without the file, or with one that is broken, they get 503 until user is back, as a warning says.

    A key that user does not have any more is good for nothing as soon as user can be asked.
    """
    token, tea = logged_in(shop, registered(shop))["access_token"], shop.goods()
    assert orders(shop, token).status == 200
    kept = shop.deployment.directory.user_keys("order")
    assert kept.stat().st_mode & 0o777 == 0o600
    good = kept.read_bytes()
    end_user(shop)

    restart(shop)
    client = Client(shop.deployment.plan.urls, token)
    placed(client, {tea: 1})
    client.close()

    kept.unlink()
    restart(shop)
    answer = orders(shop, token)
    assert (answer.status, slug(answer)) == (503, "unavailable")

    kept.write_bytes(good[:-10])
    kept.chmod(0o600)
    restart(shop)
    assert orders(shop, token).status == 503
    lines = map(json.loads, shop.deployment.directory.log("order").read_text().splitlines())
    assert "the kept keys of user are not taken" in {line["event"] for line in lines}

    kept.write_bytes(good)
    restart(shop)
    assert [orders(shop, token).status for _ in range(2)] == [200, 200]
    database = Database(shop.deployment.directory.database_url("user"))
    database.transact(lambda connection: connection.execute(delete(signing_keys)))
    database.close()
    shop.deployment.supervisor.release("user")
    shop.deployment.supervisor.wait_ready("user")
    eventually(lambda: orders(shop, token).status == 401, within=5)
    assert orders(shop, logged_in(shop, registered(shop))["access_token"]).status == 200
