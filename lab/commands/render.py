"""`./scripts/render`."""

from pathlib import Path

import click

import lab
from lab.rendering.files import rendered


@click.command("render")
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not as it would be written.")
def command(*, check: bool) -> None:
    """Write what derives from the list of services, the settings of the servers, the migrations and the drills.

    These are the configuration in docker/, the lists between `begin` and `end` in setup.cfg and in pages of the docs,
    the schemas on SQLite, and console/faults.json.

    \b
    Examples:
      ./scripts/render
      ./scripts/render --check
    """
    root = Path(lab.__file__).parents[1]
    made = {root / name: text for name, text in rendered(root).items()}
    old = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check and old:
        raise click.ClickException(f"{old[0].relative_to(root)} is out of date: run ./scripts/render.")
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
        click.echo(f"wrote {path.relative_to(root)}")
    if not old:
        click.echo(f"{len(made)} files are as they are to be.")
