"""The pages: what they link to in the clone is there."""

import re
from pathlib import Path

import pytest

from common.registry import ALL_NAMES, PARTICIPANTS, SANDBOX

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {page.relative_to(ROOT) for folder in ("docs", "findings") for page in (ROOT / folder).rglob("*.md")}
    | {Path("README.md"), Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), Path("halfmessage/README.md")}
)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that a move of the code has not left behind."""
    links = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []


def test_the_backup_takes_every_database() -> None:
    """The command that people copy, and the words about each, name all services and the broker."""
    page = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"for db in ([a-z ]+); do", page)
    assert set(loop.split()) == {"broker", *ALL_NAMES}
    rows = {name.strip() for row in re.findall(r"^\| ([a-z, ]+) \|", page, re.MULTILINE) for name in row.split(",")}
    assert "other participants" in rows
    assert {"broker", *ALL_NAMES} - {*PARTICIPANTS} - rows == set()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_has_customers_pay_with_play_money(page: Path) -> None:
    """What people copy for a deployment that takes money does not name the sandbox as well."""
    given = re.findall(r"ORDERS_PROVIDERS=([\w.:,]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [names for names in given if SANDBOX in names.split(",") and names != SANDBOX] == []
