"""What pages cost that are left open: polled as a browser that shows them does, by many viewers at once."""

import http.client
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from lab.bench.meter import Meter

VIEWERS = 50
MOST_CORES = 0.2  # that the console may keep busy for them
_EVERY = 2.0  # seconds between two polls of a page, as its templates say
_ANSWERED_WITHIN = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class OpenPages:
    """How many processors each process kept busy on average while `VIEWERS` pages were open, and what went wrong."""

    name: str
    cores: Mapping[str, float]
    polls: int
    failed: int

    @property
    def wrong(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.failed:
            return f"{self.failed} of {self.polls} polls of {self.name} were not answered with 200"
        if self.cores["console"] > MOST_CORES:
            return f"{VIEWERS} open pages of {self.name}: {self.cores['console']:.2f} cores, more than {MOST_CORES:g}"
        return ""


def watch(
    name: str,
    paths: Sequence[str],
    place: tuple[str, int],
    headers: Mapping[str, str],
    pids: Callable[[], Mapping[str, int]],
    seconds: float,
) -> OpenPages:
    """Keep `VIEWERS` pages open for so long, each of which polls these paths; return what that took of processors.

    Polls are spread over the time between two, as those of viewers who came at different times.
    """
    meter, asked = Meter(pids), {**headers, "HX-Request": "true"}
    connection = http.client.HTTPConnection(*place, timeout=_ANSWERED_WITHIN)
    polls = failed = 0
    try:
        with meter.watch():
            began = time.monotonic()
            while (due := polls // len(paths) * _EVERY / VIEWERS) < seconds:
                time.sleep(max(0.0, began + due - time.monotonic()))
                for path in paths:
                    connection.request("GET", path, headers=asked)
                    answer = connection.getresponse()
                    answer.read()
                    polls += 1
                    failed += answer.status != HTTPStatus.OK
            # what came late, for the machine was busy, makes the time longer, not the polls fewer
            stretch = max(1.0, (time.monotonic() - began) / seconds)
    finally:
        connection.close()
    cores = {process: usage.cores * stretch for process, usage in meter.taken.items()}
    return OpenPages(name, cores, polls, failed)
