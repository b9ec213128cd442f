"""`orders story`."""

from pathlib import Path

import click

from console.story import StoryError, verify, write_file
from console.story.file import LARGEST
from ops import options, stories, terminal
from ops.deployment import Deployment

_ORDER_ID = click.IntRange(1, 2**63 - 1)


@click.group("story")
def command() -> None:
    """Tell what happened to an order, why it is where it is, and what happens next; keep it as a file.

    \b
    Examples:
      orders story show 382342607990161408
      orders story save 382342607990161408 --output story.html
      orders story verify story.html
    """


@command.command("show")
@click.argument("order_id", type=_ORDER_ID)
@options.data_dir
def show(order_id: int, data_dir: Path) -> None:
    """Show the story of ORDER_ID: one sentence, the witnesses, and every step with its evidence.

    Also of an order that never came to be. Services that do not answer are said to be silent.
    """
    with Deployment.find(data_dir).client("orders-story", ["admin"]) as client:
        stories.show(terminal.console(), stories.fetch(client, str(order_id)))


@command.command("save")
@click.argument("order_id", type=_ORDER_ID)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write it, over what is there.  [default: order-<ORDER_ID>.html]",
)
@options.data_dir
def save(order_id: int, output: Path | None, data_dir: Path) -> None:
    """Write the story of ORDER_ID as one HTML file, which needs nothing else and is opened offline.

    It has all evidence in it, but not where the order goes to.
    """
    file = output or Path(f"order-{order_id}.html")
    with Deployment.find(data_dir).client("orders-story", ["admin"]) as client:
        text = write_file(stories.fetch(client, str(order_id)))
    file.write_text(text, encoding="utf-8", newline="")
    click.echo(f"Written: {file} (SHA-256 of its data: {verify(text).sha256})")


@command.command("verify")
@click.argument("files", metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1,
                required=True)  # fmt: skip
@click.pass_context
def verify_files(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Say of each FILE whether it is as it was written: its data, and the picture and words made of it.

    Exit code 0 if all are, 1 if any is not. It does not tell who wrote a file.
    """
    failed = False
    for file in files:
        try:
            found = verify(_read(file))
        except StoryError as error:
            failed = True
            click.echo(f"{file}: {error.detail}")
            continue
        drawn = "" if found.drawn_alike else "; drawn by another release, so only its data was compared"
        click.echo(f"{file}: intact, order {found.story.order_id}, SHA-256 of its data {found.sha256}{drawn}")
    ctx.exit(1 if failed else 0)


def _read(file: Path) -> str:
    """Read a file that is not too large. Raise `StoryError`."""
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise StoryError(f"A story file has at most {LARGEST:,} bytes; this has more.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoryError("This is no story file: it is no text in UTF-8.") from error
