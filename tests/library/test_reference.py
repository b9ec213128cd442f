"""The reference of the library: made from its docstrings, and as new as they are."""

import shutil
from pathlib import Path

from click.testing import CliRunner

from lab.cli import main
from lab.reference import FOLDER, pages

ROOT = Path(__file__).parents[2]


def test_it_is_what_the_docstrings_say() -> None:
    """`./scripts/reference --check`; where this fails, `./scripts/reference` writes it anew."""
    done = CliRunner().invoke(main, ["reference", "--check"])
    assert (done.exit_code, done.output) == (0, "3 pages are what the docstrings say.\n")


def test_another_docstring_is_another_page(tmp_path: Path) -> None:
    """What is checked is what stands in the sources."""
    shutil.copytree(ROOT / "halfmessage", tmp_path / "halfmessage", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "halfmessage" / "transactional" / "options.py"
    source.write_text(source.read_text().replace("Between two purges.", "Another sentence."))
    kept = (ROOT / FOLDER / "messages.md").read_text()
    assert "Between two purges." in kept
    assert pages(tmp_path)["messages.md"] == kept.replace("Between two purges.", "Another sentence.")


def test_names_that_are_used_are_there() -> None:
    """Each name that the tutorial imports stands in the reference, with its arguments."""
    whole = "".join(path.read_text() for path in (ROOT / FOLDER).glob("*.md"))
    for name in (
        "TransactionalMessages",
        "Options",
        "Saga",
        "Engine",
        "Sagas",
        "Barrier",
        "Rest",
        "Delay",
        "LeasedIds",
    ):
        assert f".{name}`\n" in whole, name
    for name in ("consumer", "message", "crash_at", "open_broker", "retry"):
        assert f"`{name}`\n" in whole or f".{name}`\n" in whole, name
