"""Scripts for locust, which is no dependency of ours: what can be told without it. And the order placed in two ways."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common.auth import SCOPES, Identity, Verifier
from common.our_tokens import OwnTokens
from common.own_keys import OwnPublicKeys
from common.registry import OPERATOR
from halfmessage.contrib.migrations import upgrade
from halfmessage.saga.model import RunState, StepState
from halfmessage.transactional import TransactionalMessages
from ops.keys import KeyStore
from tests.library.shop import FAST
from tests.support import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"
LOAD = EXAMPLES / "load"


def module(name: str, folder: Path = LOAD) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{folder.name}_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def two_ways(tmp_path: Path) -> Iterator[tuple[ModuleType, Any, Engine]]:
    """Yield the shop that places orders in two ways, with two pieces and one use of a coupon."""
    example = module("shop", EXAMPLES / "order_two_ways")
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with TransactionalMessages("shop", engine, broker=f"embedded:///{tmp_path}/broker.db", options=FAST) as tx:
        shop = example.Shop(tx)
        upgrade(engine)
        example.Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.add_all([example.Goods(id=1, left=2), example.Coupon(id=1, left=1)])
        yield example, shop, engine
    engine.dispose()


def left(example: ModuleType, engine: Engine) -> tuple[list[int], int, int]:
    with Session(engine) as session:
        orders = list(session.scalars(select(example.Order.id).order_by(example.Order.id)))
        pieces, uses = (session.scalars(select(what.left)).one() for what in (example.Goods, example.Coupon))
    return orders, pieces, uses


def test_a_saga_may_be_refused_and_leaves_nothing(two_ways: tuple[ModuleType, Any, Engine]) -> None:
    """The coupon is used up by the first order: of the second the piece goes back, and there is no order."""
    example, shop, engine = two_ways
    assert shop.by_saga(1, goods_id=1, coupon_id=1).state is RunState.DONE
    assert left(example, engine) == ([1], 1, 0)
    refused = shop.by_saga(2, goods_id=1, coupon_id=1)
    assert (refused.state, refused.steps["reserve"].state) == (RunState.UNDONE, StepState.UNDONE)
    assert "nothing is left of coupon_id 1" in refused.reason
    assert left(example, engine) == ([1], 1, 0)


def test_a_message_is_not_refused(two_ways: tuple[ModuleType, Any, Engine]) -> None:
    """The order stands at once, the rest follows, and what was not there is owed; an order is placed once."""
    example, shop, engine = two_ways
    shop.tx.start()
    for order_id in (1, 2):
        shop.by_message(order_id, goods_id=1, coupon_id=1)
    eventually(lambda: left(example, engine) == ([1, 2], 0, -1))
    with pytest.raises(IntegrityError):
        shop.by_message(2, goods_id=1, coupon_id=1)
    with Session(engine) as session, session.begin():
        session.execute(update(example.Goods).values(left=5))
        session.execute(update(example.Coupon).values(left=5))
    assert shop.by_saga(2, goods_id=1, coupon_id=1).reason == "write was refused: there is an order 2"
    assert left(example, engine) == ([1, 2], 5, 5)


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
