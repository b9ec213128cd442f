"""Steps that go on beside a request."""

import threading

import pytest
import structlog

from common.aside import ThreadedAside
from halfmessage.errors import BrokerError, Overloaded
from tests.support import eventually


def test_a_step_runs_beside_under_the_same_log_context() -> None:
    """On another thread, which knows the request."""
    aside = ThreadedAside("test", 1)
    structlog.contextvars.bind_contextvars(request_id="r1")
    here = threading.get_ident()
    there, context = aside.start(lambda: (threading.get_ident(), structlog.contextvars.get_contextvars())).result(5)
    assert there != here
    assert context == {"request_id": "r1"}
    aside.close()


def test_close_waits_and_later_steps_run_at_once() -> None:
    """A request that is still in flight when the process stops finishes its steps itself."""
    aside = ThreadedAside("test", 1)
    go, done = threading.Event(), []
    aside.start(lambda: (go.wait(5), done.append("first")))
    threading.Timer(0.05, go.set).start()
    aside.close()
    assert done == ["first"]
    assert aside.start(lambda value: value + 1, 1).result(0) == 2
    with pytest.raises(BrokerError):
        aside.start(_fail, BrokerError()).result(0)


def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("error", "told"), [(ZeroDivisionError(), True), (BrokerError(), False)])
def test_what_was_not_expected_is_logged(error: Exception, told: bool) -> None:
    """It may be that no thread ever looks at the future; our own errors are told where they happen."""
    aside = ThreadedAside("test", 1)
    with structlog.testing.capture_logs() as logs:
        aside.start(_fail, error)
        aside.close()
    assert [entry["log_level"] for entry in logs] == (["error"] if told else [])


def test_so_many_steps_wait_and_no_more() -> None:
    """While the steps hang, further ones are refused at once, and said so; later ones are taken again."""
    aside, go = ThreadedAside("test", 2), threading.Event()
    hanging = [aside.start(go.wait, 5) for _ in range(2 + 2 * 4)]
    with structlog.testing.capture_logs() as logs, pytest.raises(Overloaded):
        aside.start(go.wait, 5).result(0)
    assert [entry["log_level"] for entry in logs] == ["warning"]
    go.set()
    assert all(step.result(5) for step in hanging)
    assert eventually(lambda: aside.start(lambda: 1).exception(5) is None)
    aside.close()
