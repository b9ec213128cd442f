"""Base URLs, as settings and lists of instances have them: what is none is told before anything is called there."""

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import SplitResult, urlsplit

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._-]+)?\]|[A-Za-z0-9._-]+)(:[0-9]*)?")


def split(url: str) -> SplitResult:
    """Return the parts of a URL; of one that can't be taken apart: empty ones."""
    try:
        return urlsplit(url)
    except ValueError:  # a bracket that nothing closes, which is told without what else is in it
        return SplitResult("", "", "", "", "")


def has_host(url: SplitResult) -> bool:
    """Whether it is an http:// or https:// URL of a host."""
    try:
        return bool(url.hostname) and url.port != 0 and url.scheme in {"http", "https"}
    except ValueError:  # no number, or too large a one
        return False


def is_instance(url: SplitResult) -> bool:
    """Whether one can be called there, and all that it says is honoured.

    Calls of ours have paths of their own, and tokens instead of passwords. A host has the letters of DNS, or is an
    address: urllib3 raises at others.
    """
    bare = url.path in {"", "/"} and not url.query and not url.fragment
    return bare and has_host(url) and _AUTHORITY.fullmatch(url.netloc) is not None and _is_address(url.hostname or "")


def _is_address(host: str) -> bool:
    """Whether what has colons is an address of IPv6."""
    try:
        return ":" not in host or bool(IPv6Address(host.partition("%")[0]))
    except ValueError:
        return False
