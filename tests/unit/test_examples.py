"""The scripts for locust, which is no dependency of ours: what can be told without it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from common.auth import SCOPES, Identity, Verifier
from common.our_tokens import OwnTokens
from common.own_keys import OwnPublicKeys
from common.registry import OPERATOR
from ops.keys import KeyStore

LOAD = Path(__file__).parents[2] / "examples" / "load"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_load_{name}", LOAD / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_services_take_its_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name their user and what it may do, signed with the operator's key of a data directory."""
    store = KeyStore(tmp_path / "keys")
    store.ensure((OPERATOR,))
    monkeypatch.setenv("ORDERS_DATA_DIR", str(tmp_path))
    shop = module("shop")
    token = shop.token("buyer-1", "orders", shop.operator_key())
    ours = OwnTokens(OwnPublicKeys(store.public), "order", SCOPES)
    assert Verifier(None, None, ours).verify(f"Bearer {token}") == Identity("buyer-1", frozenset({"orders"}))


def test_what_they_need_is_pinned() -> None:
    """To one version each, so that what worked works again."""
    lines = (LOAD / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if not line.startswith("#")]
    assert {line.partition("==")[0] for line in needed} == {"locust", "PyJWT[crypto]"}
    assert all(line.partition("==")[2] for line in needed)


@pytest.mark.parametrize("name", ["orders", "sale"])
def test_each_is_told_in_the_readme(name: str) -> None:
    """With the line that runs it, and it is Python."""
    compile((LOAD / f"{name}.py").read_text(encoding="utf-8"), name, "exec")
    assert f"locust -f examples/load/{name}.py " in (LOAD / "README.md").read_text(encoding="utf-8")
