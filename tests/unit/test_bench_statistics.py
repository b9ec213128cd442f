"""Figures of a bench: exact quantiles, medians of runs, and a chart of them."""

import json
import os
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from lab.bench import chart, meter, report
from lab.bench.figures import Figure, Measured, Run, Times, run_of, times_of
from lab.bench.load import Sample
from lab.bench.machine import look
from lab.bench.meter import Memory, Usage


def run(per_second: float, p99: float, cores: float = 0.5, wrong: list[str] | None = None) -> Run:
    """Return a run with these figures."""
    return Run(
        per_second=per_second,
        times=Times(1.0, 2.0, p99, 9.0),
        answered=10,
        errors={"503 unavailable": 1},
        load_cpu=0.01,
        processes={"order": Usage(cores, 100)},
        wrong=wrong or [],
    )


def test_quantiles() -> None:
    """A quantile is the smallest recorded value that so large a share of all is not above, in milliseconds."""
    assert times_of([number / 1000 for number in range(100, 0, -1)]) == Times(50.0, 90.0, 99.0, 100.0)
    assert times_of([0.007]) == Times(7.0, 7.0, 7.0, 7.0)
    assert times_of([0.001, 0.002, 0.003]) == Times(2.0, 3.0, 3.0, 3.0)


def test_nothing_succeeded() -> None:
    """A run without one success has no times, and its report still is JSON that others can read."""
    assert times_of([]) is None
    measured = Measured("none", "closed", 1, 1, runs=[run_of(Sample(2.0), {}, [])])
    told = json.loads(json.dumps(measured.as_json(), allow_nan=False))
    assert told["milliseconds"]["p99"] is None
    assert told["per_second"] == {"median": 0.0, "low": 0.0, "high": 0.0}


def test_median_and_spread() -> None:
    """Of several runs the median is told, and the extremes; errors add up, memory is the most that was seen."""
    measured = Measured("load", "closed", 8, 100, runs=[run(300, 5.0), run(100, 7.0, 0.9), run(200, 6.0)])
    assert measured.per_second == Figure(200, 100, 300)
    assert measured.time("p99") == Figure(6.0, 5.0, 7.0)
    assert measured.errors == {"503 unavailable": 3}
    assert measured.usage() == {"order": Usage(0.5, 100)}


def test_per_second() -> None:
    """Orders a second are the successes of the window by its length; processor time is that of one request."""
    sample = Sample(4.0, answered=10, requests=20, cpu=0.001)
    sample.times.extend([0.5] * 10)
    found = run_of(sample, {}, ["a line"])
    assert (found.per_second, found.load_cpu, found.wrong) == (2.5, pytest.approx(0.05), ["a line"])


def test_document_and_chart() -> None:
    """The document says its version and what is wrong; the chart shows every load, and needs nothing from elsewhere."""
    measured = [
        Measured("64 <clients>", "closed", 64, 100, runs=[run(300, 5.0), run(100, 700.0)]),
        Measured("drained", "rollback", 0, 100, runs=[Run(5.0, None, 10, {}, 0.0, {}, ["stock & orders disagree"])]),
    ]
    found = report.document("orders", look(), {"runs": 2}, measured, {"ratio": 1.5})
    assert (found["schema"], found["wrong"], found["facts"]) == (1, ["stock & orders disagree"], {"ratio": 1.5})
    page = chart.draw(json.loads(json.dumps(found)))
    assert page.count("64 &lt;clients&gt;") == 3
    assert page.count("drained") == 1
    assert "wrong: stock &amp; orders disagree" in page
    assert "exact after every run" not in page
    assert not any(word in page for word in ("http:", "https:", "<script", "src="))


def test_memory_that_processes_share_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PSS where it can be read, of all of a family; else RSS, and it says which. Of no process there is none."""
    monkeypatch.setattr(meter, "_family", lambda pid: [psutil.Process(pid)])  # other tests may have left children
    whole = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])
    told = meter.memory_of(os.getpid())
    assert (told.kind, 0 < told.size < whole + 2**24) == ("PSS", True)
    assert meter.memory_of(2**22 + 1) == Memory(0)
    rolled = tmp_path / str(os.getpid())
    rolled.mkdir()
    (rolled / "smaps_rollup").write_text("5581 r--p [rollup]\nRss:  900 kB\nPss:  300 kB\nPss_Dirty: 1 kB\n")
    monkeypatch.setattr(meter, "_PROC", tmp_path)
    assert meter.memory_of(os.getpid()) == Memory(300 * 1024)
    (rolled / "smaps_rollup").unlink()
    untold = meter.memory_of(os.getpid())
    assert (untold.kind, untold.size >= told.size) == ("RSS", True)


def test_the_report_says_where_memory_is_resident() -> None:
    """The one figure among others that counts shared pages whole; of several runs, as of the one that took most."""
    pss, rss = Usage(0.5, 100 * 2**20), Usage(0.5, 300 * 2**20, is_pss=False)
    runs = [Run(1.0, None, 1, {}, 0.0, {"order": pss, "mariadb": one}, []) for one in (rss, pss)]
    out = Console(width=200)
    with out.capture() as captured:
        out.print(report._processes([Measured("load", "closed", 8, 100, runs=runs)]))
    text = captured.get()
    assert "PSS" in text.splitlines()[0]
    assert text.count("300 RSS") == 1
    assert "100 RSS" not in text


def test_usage_is_watched() -> None:
    """The processor time and the most memory of a process, from when the block begins."""
    watching = meter.Meter(lambda: {"us": os.getpid()})
    with watching.watch():
        sum(range(100_000))
    assert watching.taken["us"].memory > 0
    assert watching.taken.keys() == {"us", meter.OTHERS}
