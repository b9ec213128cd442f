"""Stories of orders on the command line: read by REST, shown on a terminal."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from console.story import Agree, Mood, Story, StoryError, printable, tell
from halfmessage.clock import now_ms, rfc3339
from ops.client import Client, Refused

_COLOURS = {Mood.ENDED: "green", Mood.WAITING: "yellow", Mood.UNKNOWN: "yellow", Mood.STUCK: "red", Mood.WRONG: "red"}
_SIGNS = {Agree.YES: "[green]✓ all agree[/]", Agree.NO: "[red]✗ they contradict each other[/]"}


def fetch(client: Client, order_id: str) -> Story:
    """Ask for an order and its timeline and tell its story; an admin's also of one that never came to be.

    Raise `Unreachable`, `Refused`, or `StoryError` where what comes is no story.
    """
    order = _order(client, order_id)
    timeline = client.get("order", f"/orders/{order_id}/timeline")
    entries = timeline.get("entries") if isinstance(timeline, Mapping) else None
    if not isinstance(entries, list):
        raise StoryError("The order service answered with no timeline.")
    return tell(order, entries, order_id=order_id, now_ms=now_ms())


def _order(client: Client, order_id: str) -> Mapping[str, Any] | None:
    try:
        order = client.get("order", f"/orders/{order_id}")
    except Refused as refusal:
        if refusal.http_status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return order if isinstance(order, Mapping) else None


def show(out: Console, story: Story) -> None:
    """Show a story: the sentence, the witnesses, and the steps with their evidence."""
    status = "no such order" if story.status == "none" else story.status
    out.print(f"[bold]Order {story.order_id}[/]: {escape(status)}, seen {rfc3339(story.now_ms)}", soft_wrap=True)
    out.print(f"[{_COLOURS[story.mood]}]{escape(story.sentence)}[/]")
    out.print()
    for one in story.witnesses:
        answer = f" {one.answer.capitalize()}." if one.answer else ""
        out.print(f"[bold]{escape(one.step)}[/]{answer} {_SIGNS.get(one.agree, '[yellow]? not all can tell[/]')}")
        for say in one.says:
            out.print(f"  {escape(say.witness)}: {escape(say.words)}")
    out.print()
    out.print(timeline_table("Step by step", story.entries))


def timeline_table(title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """Return the entries of a timeline as a table."""
    table = Table(title=escape(title), title_justify="left")
    for heading in ("at (UTC)", "event", "source", "evidence"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        at, event = entry["at"], escape(printable(entry["event"]))
        table.add_row(
            at[11:] if at else "?",
            event if entry["known"] else f"[yellow]{event} (not known)[/]",
            escape(printable(entry["source"])),
            escape(printable(flat(entry["evidence"]))),
        )
    return table


def flat(evidence: Mapping[str, Any]) -> str:
    """Return evidence in one line."""

    def word(value: object) -> str:
        if isinstance(value, Mapping):
            return flat(value)
        return value if isinstance(value, str) else json.dumps(value)

    return ", ".join(f"{name}={word(value)}" for name, value in evidence.items())
