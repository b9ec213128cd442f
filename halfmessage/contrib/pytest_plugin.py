"""A pytest plugin: die at a step, in one process, and see what becomes of it. It comes with the distribution.

::

    def test_the_mail_goes_out_though_we_die(broker, crash_at, tmp_path):
        tx = TransactionalMessages("shop", engine, broker=broker.url, options=broker.options)
        ...
        with crash_at("order_paid.committed"):
            pay(7)
        broker.settle(tx)
        assert mails() == [7]

A crash is an exception that no `except Exception` catches, `halfmessage.failpoints.Crashed`; `finally` blocks do run,
which they do not in a process that is killed. For that, there is `halfmessage drill`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from halfmessage.transactional import Options, TransactionalMessages

CrashAt = Callable[[str], AbstractContextManager[None]]

_LOOK_EVERY = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class TestBroker:
    """An embedded broker for one test, quick to ask and to retry."""

    __test__ = False

    url: str
    options: "Options"

    def settle(self, tx: "TransactionalMessages", *, within: float = 10.0) -> None:
        """Have check-backs and consumers run until nothing is on its way. Fail the test after `within` seconds."""
        tx.start()
        last = time.monotonic() + within
        while not (status := tx.status()).is_quiet:
            if time.monotonic() > last:
                pytest.fail(f"not quiet within {within:g} s: {status}")
            time.sleep(_LOOK_EVERY)


@pytest.fixture
def broker(tmp_path: "Path") -> TestBroker:
    """Return the URL of a broker of this test's own, options that make it quick, and `settle`."""
    from halfmessage.mq.port import BrokerOptions  # noqa: PLC0415 - a plugin is loaded in every run of pytest
    from halfmessage.transactional import Options  # noqa: PLC0415

    quick = BrokerOptions(check_first_after=0.2, check_interval=0.2, invisible_for=1.0, retry_first_after=0.05)
    return TestBroker(
        f"embedded:///{tmp_path}/halfmessage-broker.db", Options(deadline=0.5, poll_every=0.05, broker=quick)
    )


@pytest.fixture
def crash_at() -> Iterator[CrashAt]:
    """Return a context manager whose block dies at a point, ``TOPIC.committed`` say; the test fails if it does not.

    Points of a message: `half_sent`, `before_commit`, `committed`, `before_resolve`, `resolved`.
    """
    from halfmessage import failpoints  # noqa: PLC0415

    @contextmanager
    def crashing(point: str) -> Iterator[None]:
        failpoints.arm(f"{point}=crash", [point])
        try:
            yield
        except failpoints.Crashed:
            return
        finally:
            failpoints.arm("", [])
        pytest.fail(f"the block did not come to {point}")

    yield crashing
    failpoints.arm("", [])
