"""While something is simulated, the product's modules have the scheduler's clock and threads; afterwards their own."""

import concurrent.futures
import threading
import time

from halfmessage import clock
from halfmessage.mq.embedded import writer
from halfmessage.mq.embedded.wakeup import Wakeup
from lab.simulate import primitives
from lab.simulate import scheduler as schedulers
from lab.simulate.run import Simulator
from lab.simulate.scheduler import BEGIN, Scheduler
from lab.simulate.templates import templates
from order.service import placing


def test_modules_are_as_they_were() -> None:
    """Names of modules, classes and functions, factories of fields, and methods."""
    watch = Wakeup._watch
    with templates() as files:
        simulator = Simulator(files)
        with simulator.ready():
            schedulers.activate(Scheduler(1))
            assert clock.now_ms() == BEGIN // 1_000_000
            assert placing.Future is primitives.Future
            assert isinstance(writer._Job(None, None).done, primitives.Future)  # type: ignore[arg-type]
            assert Wakeup._watch is not watch
            assert threading.Lock is not primitives.Lock
            schedulers.activate(None)
    assert abs(clock.now_ms() - time.time() * 1000) < 60_000
    assert placing.Future is concurrent.futures.Future
    assert type(writer._Job(None, None).done) is concurrent.futures.Future  # type: ignore[arg-type]
    assert Wakeup._watch is watch
