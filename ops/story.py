"""How the demo shows itself: what it does, what it waits for, what held, the timeline and the ledger."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from halfmessage.clock import rfc3339
from halfmessage.mq.port import MessageView
from ops.errors import CommandFailed
from ops.stories import timeline_table
from ops.waiting import wait_for

T = TypeVar("T")


class StoryBroken(CommandFailed):
    """Something that the demo shows did not hold."""


class Teller:
    """Tells the story on a console."""

    def __init__(self, out: Console) -> None:
        """Print to `out`."""
        self._out = out
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._chapters += 1
        self._out.print()
        self._out.rule(f"[bold]{self._chapters}. {escape(title)}", align="left")

    def say(self, line: str) -> None:
        """Tell what is done."""
        self._out.print(f"  {line}", markup=False)

    def expect(self, holds: object, what: str) -> None:
        """Show what held. Raise `StoryBroken` if it did not."""
        if not holds:
            raise StoryBroken(f"This did not hold: {what}.")
        self._out.print(f"  [green]✓[/] {escape(what)}")

    def wait(self, what: str, look: Callable[[], T | None], *, within: float) -> T:
        """Show what is waited for until `look` finds it. Raise `NotInTime`."""
        with self._out.status(f"waiting for {what} ..."):
            return wait_for(what, look, within=within)

    @contextmanager
    def progress(self, begins: str) -> Iterator[Callable[[str], None]]:
        """Yield what shows how far something is, each line in the place of the one before. On a terminal only."""
        with self._out.status(begins) as status:
            yield status.update

    def timeline(self, timeline: Mapping[str, Any]) -> None:
        """Show the timeline of an order, times from its first entry on."""
        self._out.print(timeline_table(f"Timeline of order {timeline['order_id']}", timeline["entries"]))

    def messages(self, order_id: str, views: Sequence[MessageView]) -> None:
        """Show the messages of an order as they lie on RocketMQ, the oldest first."""
        table = Table(title=f"RocketMQ's messages of order {order_id}", title_justify="left")
        for heading in ("born at (UTC)", "id", "topic", "state", "check-backs", "properties", "ended"):
            table.add_column(heading, overflow="fold")
        for view in reversed(views):
            properties = ", ".join(f"{name}={value}" for name, value in view.message.properties.items())
            table.add_row(
                rfc3339(view.born_at)[11:],
                view.message_id,
                view.message.topic,
                view.state,
                str(view.check_count),
                escape(properties),
                view.resolution or "-",
            )
        self._out.print(table)

    def ledger(self, goods: Mapping[str, Any], level: Mapping[str, Any]) -> None:
        """Show the stock of one goods."""
        table = Table(title="Stock ledger", title_justify="left")
        for heading in ("goods", "total", "available", "reserved"):
            table.add_column(heading, justify="left" if heading == "goods" else "right")
        reserved = level["total"] - level["available"]
        table.add_row(escape(goods["name"]), str(level["total"]), str(level["available"]), str(reserved))
        self._out.print(table)
