"""The files as they may be after a power loss: what was synced, and of all that was not, any part."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.drill.power_loss.forgetful import Event

SECTOR = 512
"""Bytes that a disk writes whole. https://sqlite.org/atomiccommit.html#_hardware_assumptions"""

_LOGS = ("-journal", "-wal")
"""With the first sync of one that was made, SQLite syncs its directory: os_unix.c, UNIXFILE_DIRSYNC."""

_WAYS = ("nothing", "everything", "first ones", "any", "any, torn")

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Image:
    """The power went after the event before `moment`; `way` says what of the unsynced reached the disk."""

    moment: int
    way: str
    files: Files


def images(events: Sequence[Event], *, seed: int, most: int) -> Iterator[Image]:
    """Return at most `most` images, at moments and in ways that the seed chooses; all ways of all moments if they fit.

    A file's sync makes all its writes before it durable, and that it exists; that of a new log deletions,
    too. Writes after it may reach the disk in any
    order, each whole, in part by sectors, or not.
    """
    rng = random.Random(seed)  # nosec B311 - no secret
    all_of_them = [(moment, way) for moment in range(len(events) + 1) for way in _WAYS]
    chosen = sorted(rng.sample(all_of_them, most)) if most < len(all_of_them) else all_of_them
    for moment, way in chosen:
        yield Image(moment, way, _after(events[:moment], way, rng))


def _after(events: Sequence[Event], way: str, rng: random.Random) -> Files:
    durable: dict[str, bytearray] = {}
    waiting: list[Event] = []
    for event in events:
        if event.kind == "sync":
            directory_too = event.file not in durable and event.file.endswith(_LOGS)
            reached = [one for one in waiting if one.file == event.file or (directory_too and one.kind == "delete")]
            for one in reached:
                _apply(durable, one)
            waiting = [one for one in waiting if one not in reached]
            durable.setdefault(event.file, bytearray())
        elif event.kind == "delete" and event.at:
            waiting = [one for one in waiting if one.file != event.file]
            durable.pop(event.file, None)
        elif event.kind != "committed":
            waiting.append(event)
    for one in _reached(waiting, way, rng):
        _apply(durable, one)
    return {name: bytes(content) for name, content in durable.items()}


def _reached(waiting: Sequence[Event], way: str, rng: random.Random) -> list[Event]:
    if way == "nothing":
        return []
    if way == "everything":
        return list(waiting)
    if way == "first ones":
        return list(waiting[: rng.randint(0, len(waiting))])
    some = _possible(waiting, [one for one in waiting if rng.random() < 0.5])  # noqa: PLR2004
    return [_torn(one, rng) for one in some] if way == "any, torn" else some


def _possible(waiting: Sequence[Event], chosen: Sequence[Event]) -> list[Event]:
    """Leave out what was written to a file that has the name of one whose deletion did not reach the disk."""
    kept, barred = [], set()
    for event in waiting:
        if event.kind == "delete" and event not in chosen:
            barred.add(event.file)
        if event in chosen and event.file not in barred:
            kept.append(event)
    return kept


def _torn(event: Event, rng: random.Random) -> Event:
    """Return what of a write there is, if the disk wrote only its first sectors, or its last."""
    border = -(event.at // -SECTOR) * SECTOR - event.at  # where the first whole sector of the file begins in it
    borders = [*range(border or SECTOR, len(event.data), SECTOR)]
    if event.kind != "write" or not borders:
        return event
    cut = rng.choice(borders)
    if rng.random() < 0.5:  # noqa: PLR2004
        return Event("write", event.file, event.at, event.data[:cut])
    return Event("write", event.file, event.at + cut, event.data[cut:])


def _apply(files: dict[str, bytearray], event: Event) -> None:
    if event.kind == "delete":
        files.pop(event.file, None)
        return
    content = files.setdefault(event.file, bytearray())
    if event.kind == "truncate":
        del content[event.at :]
        return
    content.extend(bytes(max(0, event.at - len(content))))  # a hole reads as zeros
    content[event.at : event.at + len(event.data)] = event.data
