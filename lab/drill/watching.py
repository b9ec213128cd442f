"""Keeps the story of a drill's order in a file while the drill runs, so that somebody can watch it heal."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.replacing import replace_file
from console.story import Story, write_file
from halfmessage.errors import HalfMessageError
from lab.drill.drill_run import DrillRun
from ops import stories
from ops.client import Client

EVERY = 1.0  # seconds between two looks
_ANSWERED_WITHIN = 2.0  # seconds: what is frozen answers later, or never


@contextmanager
def watched(run: DrillRun, file: Path | None) -> Iterator[None]:
    """Keep the story so far in `file` (None: in none), a story file, while the block runs: see `EVERY`.

    A look that fails, for what it asks is broken just then, leaves the story that was told last.
    """
    if file is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(run, file, over), name="watching")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def keep(story: Story | None, file: Path | None) -> None:
    """Write a story to a file, whole at any moment. Nothing without a story, or a file. Raise `StoryError`."""
    if story is None or file is None:
        return
    replace_file(file, write_file(story).encode())


def _watch(run: DrillRun, file: Path, over: threading.Event) -> None:
    deployment = run.sut.deployment
    token = deployment.token("watching", ["admin", "orders"])
    with Client(deployment.plan.urls, token, timeout=_ANSWERED_WITHIN) as client:
        while not over.wait(EVERY):
            try:
                order_id = run.concerns()
                keep(None if order_id is None else stories.fetch(client, order_id), file)
            except HalfMessageError:  # it is broken on purpose: the next look may see more
                continue
