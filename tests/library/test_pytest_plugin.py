"""The pytest plugin, as the suite of a stranger uses it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest_plugins = ["pytester"]
pytestmark = pytest.mark.embedded("it has a broker of its own")

_SUITE = """
import pytest
from pathlib import Path
from sqlalchemy.orm import Session
from halfmessage.transactional import TransactionalMessages
from tests.library.shop import Base, METADATA, Paid, Shop

@pytest.fixture
def shop(broker, tmp_path):
    made = Shop(f"sqlite:///{tmp_path}/shop.db", broker.url, broker.options)
    Base.metadata.create_all(made.engine)
    METADATA.create_all(made.engine)
    yield made
    made.close()

@pytest.mark.parametrize("point, mails", [
    ("half_sent", []), ("before_commit", []), ("committed", [7]), ("before_resolve", [7]), ("resolved", [7]),
])
def test_it_holds(shop, broker, crash_at, point, mails):
    with crash_at(f"order_paid.{point}"):
        shop.pay(7)
    broker.settle(shop.tx)
    assert (shop.mails(), shop.paid()) == (mails, mails)

def test_a_point_that_is_not_passed_fails(shop, crash_at):
    with crash_at("order_paid.nowhere"):
        shop.pay(7)
"""


def test_a_suite_crashes_where_it_likes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point holds; a point that the block does not pass fails the test, with words."""
    pytester.makepyfile(_SUITE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = pytester.runpytest_subprocess("-p", "halfmessage.contrib.pytest_plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*the block did not come to order_paid.nowhere*"])
