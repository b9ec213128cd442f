"""A real Chromium, driven by playwright; what it saw, loaded and complained of."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, sync_playwright

from console.pages.viewer import COOKIE

CHROMIUM: Final = Path("/usr/bin/chromium")  # Debian's; playwright's own would be a download of 150 MB
SCREENSHOTS: Final = "ORDERS_SCREENSHOTS"  # names a directory
_AXE: Final = Axe()
_RULES: Final[Mapping[str, Any]] = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; skip the test where there is none, but never in CI."""
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing, and CI=true: apt-get install chromium")
        pytest.skip(f"{CHROMIUM} is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(slots=True)
class Visit:
    """One page in one window, and all that it did."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)
    loaded: list[Response] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Load a page of the console."""
        self.page.goto(self.base + path)

    def outside(self) -> list[str]:
        """Return what was asked for elsewhere."""
        return [answer.url for answer in self.loaded if not answer.url.startswith((self.base, "data:"))]

    def weight(self) -> int:
        """Return the bytes of all bodies as they came, but for those of polls: the clock tells how many there were."""
        came = [one for one in self.loaded if one.status == 200 and "hx-request" not in one.request.headers]
        return sum(answer.request.sizes()["responseBodySize"] for answer in came)

    def faults(self) -> list[str]:
        """Return what axe finds on the page as it is now."""
        found = _AXE.run(self.page, options=_RULES)
        return [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found.response["violations"]]

    def is_too_wide(self) -> bool:
        """Whether the page itself has to be moved sideways to be read."""
        wide: bool = self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        return wide


def _keep(page: Page) -> None:
    """Save how a page looked in the end, named after the test, where a directory is named for that, as CI does."""
    directory = os.environ.get(SCREENSHOTS)
    if directory:
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].removesuffix(" (call)")
        name = re.sub(r"[^A-Za-z0-9_]+", "-", test)
        number = 1 + len(list(Path(directory).glob(f"{name}.*.png")))
        page.screenshot(path=Path(directory, f"{name}.{number}.png"), full_page=True)


@contextmanager
def visit(browser: Browser, base: str, token: str | None, *, width: int = 1280, dark: bool = False) -> Iterator[Visit]:
    """Open a window, logged in with a token; in the end nothing may have complained."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", timezone_id="Asia/Tokyo"
    )
    if token is not None:
        context.add_cookies([{"name": COOKIE, "value": token, "url": base}])
    page = context.new_page()
    seen = Visit(page, base)
    page.on("response", lambda answer: seen.loaded.append(answer))  # noqa: PLW0108 - playwright wants a function
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
    yield seen
    _keep(page)
    context.close()
    assert seen.complaints == []
