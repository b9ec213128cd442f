"""`./scripts/render`: what derives from the list of services is in the files that can't ask for it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.cli import main
from lab.rendering import blocks
from lab.rendering.files import WITH_BLOCKS, listing

ROOT = Path(__file__).parents[2]
LISTING = listing(ROOT)


@pytest.mark.parametrize("name", LISTING)
def test_files_are_as_rendered(name: str) -> None:
    """None was changed by hand where it is written, nor what it derives from without `./scripts/render`."""
    assert (ROOT / name).read_text(encoding="utf-8") == LISTING[name], "run: ./scripts/render"


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_a_file_with_blocks_has_some(name: str) -> None:
    """A comment that is misspelt would leave its list as it is, and out of every comparison."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(blocks.names(text)) == text.count("(./scripts/render)") > 0


def test_what_is_outside_of_a_block_stays() -> None:
    """A block may be empty at first, keeps its indentation, and is the same when it is written again."""
    text = "before\n    # begin services (./scripts/render)\n    # end services\nafter\n"
    filled = blocks.filled(text, ROOT)
    assert filled.startswith("before\n    # begin services (./scripts/render)\n    coupon\n    flash\n")
    assert filled.endswith("    user\n    # end services\nafter\n")
    assert blocks.filled(filled, ROOT) == filled


def test_a_block_of_no_such_name() -> None:
    """It is refused, and not left empty."""
    with pytest.raises(KeyError, match="servces"):
        blocks.filled("# begin servces (./scripts/render)\n# end servces\n", ROOT)


def test_all_is_up_to_date() -> None:
    """`./scripts/render --check` says so, of schemas and drills too."""
    done = CliRunner().invoke(main, ["render", "--check"])
    assert done.exit_code == 0, done.output
    assert "files are as they are to be" in done.output
