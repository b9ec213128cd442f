"""Paths inside of URLs: written and read here, so that no legal path is cut at a `#`, a `?` or a `%`."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from halfmessage.errors import Misconfigured

EMBEDDED, SQLITE = "embedded", "sqlite"


def file_url(scheme: str, path: Path) -> str:
    """Return the URL of a file, as `file_path` and SQLAlchemy (2.1 and later) read it.

    Whatever could mean something else is written as %XX. Three slashes begin a relative path, four an absolute one.
    """
    return f"{scheme}:///{quote(str(path))}"


def sqlite_uri(path: Path, mode: str) -> str:
    """Return the URI that SQLite opens a file by, in its `mode` (https://sqlite.org/uri.html)."""
    return f"file:{quote(str(path))}?mode={mode}"


def file_path(url: str) -> Path:
    """Return the path in a URL that `file_url` made, or a person.

    Raise `Misconfigured` where it names a host or no file, or where it would be cut: at a `#` or a `?` written as such.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or url.endswith(("#", "?")):
        raise Misconfigured(f"A path in a URL has %23 for # and %3F for ?: {parts.path}")
    path = unquote(parts.path)[1:]
    if parts.netloc or not path:
        raise Misconfigured(f"A URL of {parts.scheme}: names a file and no host: {parts.path}")
    return Path(path)
