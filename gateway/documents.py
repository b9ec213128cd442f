"""The services' own OpenAPI documents: asked of them at start, and kept for a start while one of them is down."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import urllib3

from common.replacing import replace_file
from gateway.operations import Json

_FIRST_WITHIN: Final = 60.0  # seconds for a document that was never had: a deployment's first start takes some
_AGAIN_WITHIN: Final = 1.0  # seconds for one that is kept: the service may be down
_ASKED_EVERY: Final = 0.05  # seconds between two tries
_ONE_TRY: Final = 2.0  # seconds
_LARGEST: Final = 4 * 1024 * 1024  # bytes of a document; ours have 100 KB


class NoDocument(Exception):
    """A service did not tell its document in time, and none is kept."""


def document(service: str, urls: Sequence[str], kept: Path) -> Json:
    """Return the document of a service, of the first of its instances that answers, and keep it in the file `kept`.

    Where none answers: what was kept. Raise `NoDocument`, or OSError where it can't be kept.
    """
    known = _load(kept)
    deadline = time.monotonic() + (_FIRST_WITHIN if known is None else _AGAIN_WITHIN)
    while True:
        for url in urls:
            if (found := _ask(f"{url}/openapi.json")) is not None:
                replace_file(kept, json.dumps(found).encode())
                return found
        if time.monotonic() >= deadline:
            break
        time.sleep(_ASKED_EVERY)
    if known is None:
        raise NoDocument(f"{service} told no /openapi.json within {_FIRST_WITHIN:g} s at {', '.join(urls)}")
    return known


def _ask(url: str) -> Json | None:
    try:
        answer = urllib3.request(
            "GET", url, retries=False, timeout=urllib3.Timeout(_ONE_TRY), preload_content=False, decode_content=True
        )
        raw = answer.read(_LARGEST + 1)
        answer.release_conn()
    except urllib3.exceptions.HTTPError:
        return None
    return _parsed(raw) if answer.status == 200 and len(raw) <= _LARGEST else None  # noqa: PLR2004 - OK


def _load(path: Path) -> Json | None:
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return None


def _parsed(raw: bytes) -> Json | None:
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "paths" in found else None
