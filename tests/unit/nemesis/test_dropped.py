"""What RocketMQ drops by its own word is settled by a sweep; a run that is open for any other reason fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.drill.nemesis import quiet, run
from lab.drill.nemesis.run import Run
from ops.stack import Stack

_LINE = (
    "2026-11-26 13:21:47 WARN PopReviveService_6 - reviveQueueId=6, skip ck from last epoch PopCheckPoint "
    "[topic={topic}, queueId=1, startOffset=18, bitMap=0, num=1, reviveTime=1795670505096]\n"
)


def test_it_is_read_from_its_log(tmp_path: Path) -> None:
    """Lines of a deployment's own topics, retries included; without a log there are none."""
    stack = Stack(tmp_path)
    assert stack.dropped("one") == []
    log = stack.layout.home / "logs" / "rocketmqlogs" / "pop.log"
    log.parent.mkdir(parents=True)
    topics = ("one-order_timeout", "two-order_timeout", "%RETRY%one-order_one-order_timeout")
    log.write_text(
        "PopReviveService_6 - one-order_timeout: has no new msg\n" + "".join(_LINE.format(topic=t) for t in topics)
    )
    assert [line.split("topic=")[1].split(",")[0] for line in stack.dropped("one")] == [topics[0], topics[2]]
    assert len(stack.dropped("")) == 3


class _Watch:
    """Comes to rest only once it was swept."""

    left: tuple[str, ...] = ()
    last_open: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.swept = 0

    def wait(self, _limit: float) -> float | None:
        return 0.5 if self.swept else None

    def sweep(self) -> None:
        self.swept += 1


@pytest.mark.parametrize(("said", "swept"), [((3, 3), 0), ((3, 4), 1)])
def test_only_then_is_swept(said: tuple[int, int], swept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dropped before the run is none of its."""
    drops, watch = iter(said), _Watch()
    monkeypatch.setattr(quiet, "dropped", lambda _: next(drops))
    played = cast("Run", SimpleNamespace(limit=1.0, dropped=0))
    before = quiet.dropped(cast("Any", None))
    assert run._settled(played, cast("Any", None), cast("Any", watch), before) == (0.5 if swept else None)
    assert (watch.swept, played.dropped) == (swept, said[1] - said[0])
