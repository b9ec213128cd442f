"""A person at the console: logged in, with the cookie that a browser keeps, following what forms lead to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode

import urllib3

from console.pages.viewer import COOKIE

_HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">')
Fields = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it came: where it is, its status and its HTML."""

    path: str
    status: int
    html: str

    @property
    def text(self) -> str:
        """What it says, without its markup."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())

    def form(self, action: str) -> dict[str, list[str]]:
        """Return the hidden fields of the form that is sent to `action`."""
        (form,) = re.findall(rf'<form method="post" action="{re.escape(action)}".*?</form>', self.html, re.DOTALL)
        return fields_in(form)


def fields_in(html: str) -> dict[str, list[str]]:
    """Return the hidden fields in some HTML, each with its values."""
    fields: dict[str, list[str]] = {}
    for name, value in _HIDDEN.findall(html):
        fields.setdefault(name, []).append(unescape(value))
    return fields


class Visitor:
    """Looks at one console."""

    def __init__(self, url: str, token: str) -> None:
        """Take where it is, and whose token is in the cookie."""
        self._url, self._token = url, token
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=60.0)

    def get(self, path: str) -> Page:
        """Load a page."""
        return self._ask("GET", path, None)

    def send(self, page: Page, action: str, **fields: str) -> Page:
        """Fill in a page's form and send it; return where that leads to."""
        return self.post(action, {**page.form(action), **fields})

    def post(self, path: str, fields: Fields) -> Page:
        """Send fields; return where that leads to."""
        return self._ask("POST", path, urlencode(fields, doseq=True).encode())

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(self, method: str, path: str, body: bytes | None) -> Page:
        headers = {"Accept": "text/html", "Cookie": f"{COOKIE}={self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._pool.request(method, self._url + path, body=body, headers=headers, redirect=False)
        if answer.status == 303:  # noqa: PLR2004 - See Other
            return self.get(answer.headers["Location"])
        return Page(path, answer.status, answer.data.decode())
