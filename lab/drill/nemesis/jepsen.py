"""A history as Jepsen writes it, so that others' checkers can judge it: EDN, one operation a line.

https://github.com/jepsen-io/history tells the form: an operation is invoked by a process, and completed by the same at
most once: `ok` (it happened), `fail` (it certainly did not) or `info` (not known; that process asks nothing more).
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import edn_format

from lab.drill.nemesis.case import PLACING, UNAVAILABLE, may_have_been_taken
from lab.drill.nemesis.history import Entry

READS = frozenset({"look", "look-at-return", "list", "level", "coupon", "ask"})
"""Operations that change nothing: one without an answer certainly did nothing, too."""

_SURE = PLACING | {"buy"}
"""Their `unavailable` says that nothing was done. Another's may come from a peer that was not heard in time."""

_NAMES = {"look": "read"}  # ours are the plan's; Jepsen's for a look at one thing is this
_KEYWORD = re.compile(r"[a-z][a-z0-9_-]*")
_NS = 1_000_000_000
NEMESIS = edn_format.Keyword("nemesis")
"""The process that breaks things."""

Operation = dict[str, Any]
"""One line: `type`, `f`, `process`, `value`, `time` (ns since the run began), `index`; `status` and `error` as told."""


def operations(
    history: Iterable[Entry], faults: Iterable[Mapping[str, Any]] = (), final: Mapping[str, Any] | None = None
) -> list[Operation]:
    """Return a run's operations in the order of their times, indexed.

    `faults` are those of the run, as `campaign.FAULTS` has them: two `info` of the process `nemesis` each. `final` is
    how everything stood in the end: one `final` more, by a process of its own, after all others.
    """
    entries, faults = sorted(history, key=lambda entry: entry.invoked), list(faults)
    moments = [entry.answered or entry.invoked for entry in entries] + [fault["ended"] for fault in faults]
    end = max(moments, default=0.0)
    lines = [*_calls(entries, end), *_faults(faults)]
    lines.sort(key=lambda line: (line["time"], line["type"] != "invoke"))  # of one moment: rather at once than in turns
    if final is not None:
        read = {"type": "invoke", "f": "final", "process": len(entries), "value": None, "time": _ns(end)}
        lines += [read, {**read, "type": "ok", "value": final}]
    return [{**line, "index": index} for index, line in enumerate(lines)]


def written(lines: Iterable[Operation]) -> Iterator[str]:
    """Return operations as EDN, each a line without its end."""
    return (edn_format.dumps(_edn(line, top=True)) for line in lines)


def outcome(entry: Entry) -> str:
    """Return how a call ended, in Jepsen's words: `ok`, `fail` or `info`."""
    if entry.status is not None and entry.status < 300:  # noqa: PLR2004 (HTTP's own border)
        return "ok"
    if entry.op in READS:
        return "fail"
    unsure = entry.status == UNAVAILABLE and entry.op not in _SURE
    return "info" if unsure or may_have_been_taken(entry) else "fail"


def _calls(entries: Sequence[Entry], end: float) -> Iterator[Operation]:
    """Give each call a process of its user's that has nothing else in hand; one that knows no outcome gets no other.

    When a call without an answer was given up is not written down: it is completed at the `end`.
    """
    numbers = count()
    free: defaultdict[str, list[int]] = defaultdict(list)
    busy: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for entry in entries:
        done = busy[entry.user]
        while done and done[0][0] < entry.invoked:
            heapq.heappush(free[entry.user], heapq.heappop(done)[1])
        process = heapq.heappop(free[entry.user]) if free[entry.user] else next(numbers)
        yield _line(entry, process, "invoke", entry.invoked)
        yield _line(entry, process, outcome(entry), end if entry.answered is None else entry.answered)
        if entry.answered is not None and outcome(entry) != "info":
            heapq.heappush(done, (entry.answered, process))


def _line(entry: Entry, process: int, kind: str, at: float) -> Operation:
    asked = {
        "user": entry.user,
        "order": entry.label,
        "order_id": entry.order_id,
        "request_id": entry.request_id,
        "sale_id": entry.sale_id,
        "sent": entry.sent,
        "instance": entry.instance,
        "keyed": entry.keyed,
    }
    line = {"type": kind, "f": _NAMES.get(entry.op, entry.op), "process": process, "time": _ns(at)}
    value = {name: what for name, what in asked.items() if what not in (None, "", False)}
    if kind == "invoke":
        return {**line, "value": value}
    told = {"answer": entry.body, "replayed": entry.replayed}
    error = {} if kind == "ok" else {"error": entry.slug or entry.why or str(entry.status)}
    return {**line, "value": value | told, "status": entry.status, **error}


def _faults(faults: Iterable[Mapping[str, Any]]) -> Iterator[Operation]:
    for fault in faults:
        value = {"target": fault["target"], "seconds": fault["seconds"], **fault["settings"]}
        for at in (fault["began"], fault["ended"]):
            yield {"type": "info", "f": fault["kind"], "process": NEMESIS, "value": value, "time": _ns(at)}


def _ns(seconds: float) -> int:
    return max(0, round(seconds * _NS))


def _edn(value: Any, *, top: bool = False) -> Any:
    """Return JSON's value as EDN's: names become keywords; ids, and text, stay strings."""
    if isinstance(value, Mapping):
        named = {"type", "f"} if top else set()
        return {
            edn_format.Keyword(key) if _KEYWORD.fullmatch(key) else key: (
                edn_format.Keyword(str(part)) if key in named else _edn(part)
            )
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_edn(part) for part in value]
    return value
