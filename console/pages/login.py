"""Logging in with a token, and out."""

from typing import Final

from flask import Response
from werkzeug.urls import iri_to_uri

from common.errors import Forbidden, Unauthenticated
from common.web import Api
from common.web.flask_app import Answer
from common.web.requests import current_request, refuse_unread_body, unique_parameters
from console.pages.guard import refuse_other_sites
from console.pages.rendering import Templates
from console.pages.site import HTML, OWNER, Form, Result, See, Site, fields_of, one
from console.pages.viewer import Sessions, Viewer

_WRONG: Final = "That is no valid token, or it has expired. Make a new one, and send it whole."


def install(api: Api, site: Site, sessions: Sessions, templates: Templates) -> None:
    """Add the routes."""

    def ask() -> Response:
        request = current_request()
        refuse_unread_body(request)
        back = _inside(unique_parameters(request).get("back", ""))
        return _form(templates, back, "", 200)

    def login() -> Response:
        request = current_request()
        refuse_other_sites(request)
        form = fields_of(request, api.bodies.read_of_stranger)
        back = _inside(one(form, "back"))
        try:
            cookie = sessions.login(request, one(form, "token").strip().removeprefix("Bearer ").strip())
        except Unauthenticated:
            return _form(templates, back, _WRONG, 401)
        except Forbidden as error:
            return _form(templates, back, error.detail, 403)
        return Answer("", 303, {"Location": back, "Set-Cookie": cookie}, content_type="text/plain")

    api.app.add_url_rule("/login", "GET /login", ask)
    api.app.add_url_rule("/login", "POST /login", login, methods=["POST"])

    @site.form("/logout", scopes=OWNER)
    def logout(viewer: Viewer, form: Form) -> Result:  # noqa: ARG001 - what every form's view is given
        return See("/login", {"Set-Cookie": sessions.logout(current_request())})


def _form(templates: Templates, back: str, wrong: str, status: int) -> Answer:
    html = templates.render("login.html", {"back": back, "wrong": wrong})
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004 - RFC 9110, 15.5.2
    return Answer(html, status, headers, content_type=HTML)


def _inside(path: str) -> str:
    """Return where to go after the login: a path of ours, or the beginning."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login")) and path.isprintable()
    return iri_to_uri(path) if is_ours and "\\" not in path else "/"
