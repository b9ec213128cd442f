"""`./scripts/reference`."""

from pathlib import Path

import click

import lab


@click.command("reference")
@click.option("--check", is_flag=True, help="Write nothing; fail if a page is not what the docstrings say.")
def command(*, check: bool) -> None:
    """Write the library's reference from its docstrings, into docs/library/reference.

    \b
    Examples:
      ./scripts/reference
      ./scripts/reference --check
    """
    from lab.reference import FOLDER, pages  # noqa: PLC0415 - griffe2md is installed with the tests only

    root = Path(lab.__file__).parents[1]
    made = {root / FOLDER / name: text for name, text in pages(root).items()}
    old = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check and old:
        raise click.ClickException(
            f"{old[0].relative_to(root)} is not what the docstrings say: run ./scripts/reference."
        )
    for path in old:
        path.write_text(made[path], encoding="utf-8")
        click.echo(f"wrote {path.relative_to(root)}")
    if not old:
        click.echo(f"{len(made)} pages are what the docstrings say.")
