"""Static files: each has the hash of its content in its address, so that a browser may keep it for a year."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from common.web import Api
from common.web.flask_app import Answer
from common.web.requests import current_request, refuse_parameters
from halfmessage.errors import NotFound

_TYPES: Final[Mapping[str, str]] = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_HASH: Final = 16  # hex digits of an address


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file, as it is and compressed."""

    plain: bytes
    packed: bytes
    media_type: str
    digest: str


class Assets:
    """The files of `console/static`, read once: few, and all of them are sent sooner or later."""

    def __init__(self) -> None:
        """Read them."""
        self._found = dict(_read(files("console").joinpath("static"), ""))

    def url(self, name: str) -> str:
        """Return the address of a file, such as `console.css` or `vendor/htmx.min.js`. Raise KeyError."""
        return f"/static/{self._found[name].digest}/{name}"

    def install(self, api: Api) -> None:
        """Add the route."""
        api.app.add_url_rule("/static/<word:digest>/<path:name>", "static", self._send)

    def _send(self, digest: str, name: str) -> Answer:
        request = current_request()
        refuse_parameters(request)
        asset = self._found.get(name)
        if asset is None or asset.digest != digest:
            raise NotFound("There is no such file.")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        if request.accept_encodings.quality("gzip") > 0:
            return Answer(asset.packed, 200, {**headers, "Content-Encoding": "gzip"}, content_type=asset.media_type)
        return Answer(asset.plain, 200, headers, content_type=asset.media_type)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, _Asset]]:
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        elif (media_type := _TYPES.get(name.rpartition(".")[2])) is not None:
            plain = entry.read_bytes()
            digest = hashlib.sha256(plain).hexdigest()[:_HASH]
            found.append((name, _Asset(plain, gzip.compress(plain, mtime=0), media_type, digest)))
    return found
