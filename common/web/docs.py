"""/openapi.json, and /docs: Swagger UI out of a Python package, with no resource from elsewhere."""

from functools import cache
from importlib.resources import files as files_of
from typing import TYPE_CHECKING

import orjson
from flask import Flask

from common.web import openapi
from common.web.flask_app import Answer
from common.web.requests import current_request, refuse_parameters
from halfmessage.errors import NotFound

if TYPE_CHECKING:
    from common.web.api import Api

_PACKAGE = "flask_openapi3_swagger"
_ASSETS = {
    "swagger-ui.css": ("css/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("js/swagger-ui-bundle.js", "text/javascript"),
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  validatorUrl: null,
  persistAuthorization: true,
});
"""
POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; img-src 'self' data:; font-src data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def files() -> dict[str, bytes]:
    """Return what a web server needs to show a document at /openapi.json under /docs, by path."""
    found = {name: _asset(path) for name, (path, _) in _ASSETS.items()}
    return {f"docs/{name}": content for name, content in found.items()} | {
        "docs/index.html": _PAGE.encode(),
        "docs/start.js": _START.encode(),
    }


def _asset(path: str) -> bytes:
    return files_of(_PACKAGE).joinpath("templates", "swagger", *path.split("/")).read_bytes()


def install(app: Flask, api: "Api") -> None:
    """Add the routes to `app`; the document is written when it is first asked for."""

    @cache
    def document() -> bytes:
        return orjson.dumps(openapi.document(api))

    def show_document() -> Answer:
        refuse_parameters(current_request())
        return Answer(document(), content_type="application/json")

    def show_page() -> Answer:
        refuse_parameters(current_request())
        return Answer(_PAGE, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})

    def show_asset(name: str) -> Answer:
        refuse_parameters(current_request())
        if name == "start.js":
            return Answer(_START, content_type="text/javascript; charset=utf-8")
        if name not in _ASSETS:
            raise NotFound
        path, content_type = _ASSETS[name]
        headers = {"Cache-Control": "public, max-age=86400"}
        return Answer(_asset(path), content_type=f"{content_type}; charset=utf-8", headers=headers)

    app.add_url_rule("/openapi.json", view_func=show_document)
    app.add_url_rule("/docs", view_func=show_page)
    app.add_url_rule("/docs/<name>", view_func=show_asset)
