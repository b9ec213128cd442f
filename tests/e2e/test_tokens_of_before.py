"""A deployment that was made when all tokens were of one secret goes on, is warned of, and can end that."""

import shutil
from pathlib import Path

import pytest

from common.auth import issue
from common.own_keys import OwnKey
from ops.client import Client, Refused
from ops.commands.status import HS256_WARNING
from ops.deployment import Deployment, Plan, free_port_base
from ops.errors import NoDeployment
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, placed, running
from tests.e2e.test_command_line import orders
from tests.stack import servers

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("keys are files, whatever services stand on")]


def test_a_data_directory_from_before(tmp_path: Path) -> None:
    """Its tokens go on, beside those of keys that it gets; until it is told to refuse them."""
    root, on = tmp_path / "var", servers()

    def deployment() -> Deployment:
        return Deployment(root, Plan(free_port_base(), pay_timeout=3600.0, extra=QUICK, servers=on))

    made = deployment()
    made.prepare()
    made.stop()
    made.supervisor.stop()
    shutil.rmtree(root / "keys")  # what a directory of the release before lacks
    with pytest.raises(NoDeployment, match="earlier release"):
        made.token("root", ["admin"])
    with running(deployment()) as old:
        shop = Shop(old)
        goods_id, of_secret = shop.goods(), issue(old.directory.secret(), "ann", ["orders"], 600)
        client = Client(old.plan.urls, of_secret, timeout=30)
        placed(client, {goods_id: 1})
        placed(shop.user(), {goods_id: 1})
        client.close()
        assert HS256_WARNING in " ".join(orders("status", data_dir=root).stdout.split("\n"))
        assert "tokens are taken that any service can make" in old.directory.log("stock").read_text()
        kid, _ = OwnKey(old.directory.keys.private("order"), "order")._file.value
        shop.close()
    assert orders("keys", "refuse-hs256", data_dir=root).returncode == 0
    with running(deployment()) as new:
        shop = Shop(new)
        client = Client(new.plan.urls, of_secret, timeout=30)
        with pytest.raises(Refused, match="401"):
            client.get("order", "/orders")
        client.close()
        placed(shop.user(), {goods_id: 1})
        assert "HS256" not in orders("status", data_dir=root).stdout
        assert OwnKey(new.directory.keys.private("order"), "order")._file.value[0] == kid
        shop.close()
