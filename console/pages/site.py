"""Declares pages and forms: who may see them, what they take, and how they are rendered."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from flask import Flask, Request, Response

from common.errors import Forbidden, Malformed, Unauthenticated
from common.registry import UPLOADS
from common.web import Api
from common.web.bodies import has_unread_body
from common.web.flask_app import Answer
from common.web.forms import read_form, read_form_with_file
from common.web.requests import current_request, refuse_parameters, refuse_unread_body, unique_parameters
from console.pages.guard import refuse_other_sites
from console.pages.rendering import Menu, Templates
from console.pages.viewer import Sessions, Viewer
from halfmessage.errors import NotFound, Overloaded

ADMIN: Final = ("admin",)
OWNER: Final = ("orders", "admin")
_PAGES: Final = "console pages"  # where an application keeps what was declared
_MOST_FIELDS: Final = 520  # of a form: five hundred things that are ticked, and what is said of them


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: a template of `console/templates`, and what it is given beside what every page has."""

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class See:
    """What was asked for is done; the browser is to go on to `path`."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is no page: a file to keep, or numbers for a chart."""

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


Result = Shown | See | Raw
View = Callable[..., Result]
Form = Mapping[str, Sequence[str]]
"""The fields of a form by name; of one that is ticked several times, each value."""


class Site:
    """The console's pages, on the application of an `Api`."""

    def __init__(self, api: Api, sessions: Sessions, templates: Templates) -> None:
        """Take where pages are answered, who looks at them, and how they are rendered."""
        self._api, self._sessions, self._templates = api, sessions, templates

    def page(
        self, rule: str, *, scopes: Sequence[str] = ADMIN, query: Sequence[str] = (), menu: str = ""
    ) -> Callable[[View], View]:
        """Declare a page to look at; `query` names the parameters that it takes, `menu` its place in the menu.

        The view gets `viewer`, every `<…>` of the rule, and `query`, where it takes parameters. Who has none of the
        scopes finds no such page. A poll of a page that is open gets its block `live` alone.
        """

        def declare(view: View) -> View:
            if menu:
                self._templates.menu.append(Menu(menu, rule, frozenset(scopes)))

            def show(**arguments: Any) -> Response:
                request = current_request()
                refuse_unread_body(request)
                if query:
                    arguments["query"] = _parameters(request, query)
                else:
                    refuse_parameters(request)
                viewer = self._viewer(request, scopes)
                if isinstance(viewer, Answer):
                    return viewer
                return self._answer(request, viewer, view(viewer=viewer, **arguments))

            self._api.app.add_url_rule(rule, f"GET {rule}", show)
            self._api.app.extensions.setdefault(_PAGES, {})[rule] = tuple(query)
            return view

        return declare

    def form(self, rule: str, *, scopes: Sequence[str] = ADMIN) -> Callable[[View], View]:
        """Declare where a form is sent. The view gets `viewer`, every `<…>` of the rule, and `form`."""

        def declare(view: View) -> View:
            def act(viewer: Viewer, request: Request, arguments: Mapping[str, Any]) -> Response:
                form = fields_of(request, self._api.bodies.read)
                self._prove(viewer, form)
                return self._answer(request, viewer, view(viewer=viewer, form=form, **arguments))

            self._take(rule, scopes, act)
            return view

        return declare

    def upload(self, rule: str, *, file: str, scopes: Sequence[str] = ADMIN) -> Callable[[View], View]:
        """Declare where a form is sent with a file: its field of that name. `UPLOADS` tells how large it may be.

        It is read into memory, and what is made of it is there as well: so each process reads and answers one at once
        (`Overloaded` for any further one, unread), and only for who has logged in. The view gets `viewer`, every `<…>`
        of the rule, and `sent`, its bytes; none where no file was chosen.
        """
        read = partial(self._api.bodies.read, at_least=UPLOADS[rule])
        alone = threading.Lock()

        def declare(view: View) -> View:
            def act(viewer: Viewer, request: Request, arguments: Mapping[str, Any]) -> Response:
                if not alone.acquire(blocking=False):
                    raise Overloaded("Another file is being read. Try again in a moment.")
                try:
                    fields, sent = read_form_with_file(request, read, file=file, most_fields=_MOST_FIELDS)
                    self._prove(viewer, _by_name(fields))
                    return self._answer(request, viewer, view(viewer=viewer, sent=sent, **arguments))
                finally:
                    alone.release()

            self._take(rule, scopes, act)
            return view

        return declare

    def _take(
        self, rule: str, scopes: Sequence[str], act: Callable[[Viewer, Request, Mapping[str, Any]], Response]
    ) -> None:
        def answer(**arguments: Any) -> Response:
            request = current_request()
            refuse_other_sites(request)
            viewer = self._viewer(request, scopes)
            if isinstance(viewer, Answer):
                return viewer
            return act(viewer, request, arguments)

        self._api.app.add_url_rule(rule, f"POST {rule}", answer, methods=["POST"])

    def _prove(self, viewer: Viewer, form: Form) -> None:
        """Raise `Forbidden` for a form that is not from a page of the viewer's."""
        if not self._sessions.is_ours(viewer, one(form, "csrf")):
            raise Forbidden("This form is not from a page of yours, or from before you logged in: open it anew.")

    def _viewer(self, request: Request, scopes: Sequence[str]) -> Viewer | Answer:
        """Return who looks, or where to log in. Raise `NotFound` for who may not know of this page."""
        try:
            viewer = self._sessions.viewer(request)
        except Unauthenticated:
            return _to_login(request)
        if not viewer.may(scopes):
            raise NotFound("There is no such page.")
        return viewer

    def _answer(self, request: Request, viewer: Viewer, result: Result) -> Response:
        if isinstance(result, See):
            return Answer("", 303, {**result.headers, "Location": result.path}, content_type="text/plain")
        if isinstance(result, Raw):
            return Answer(result.body, 200, result.headers, content_type=result.media_type)
        given = {"viewer": viewer, "path": request.path, **result.context}
        html = self._templates.render(result.template, given, live_only="HX-Request" in request.headers)
        return Answer(html, result.status, content_type=HTML)


HTML: Final = "text/html; charset=utf-8"


def pages_of(app: Flask) -> Mapping[str, Sequence[str]]:
    """Return the rule of every page that was declared, and the parameters that it takes."""
    found: Mapping[str, Sequence[str]] = app.extensions.get(_PAGES, {})
    return found


def one(form: Form, name: str) -> str:
    """Return the last value of a field, empty where it was not sent."""
    return form.get(name, ("",))[-1]


def fields_of(request: Request, read: Callable[[Request], bytes]) -> Form:
    """Return a form's fields, none of an empty request. Raise as `read_form` does."""
    return _by_name(read_form(request, read, most_fields=_MOST_FIELDS)) if has_unread_body(request) else {}


def _by_name(fields: Iterable[tuple[str, str]]) -> Form:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


def _parameters(request: Request, known: Sequence[str]) -> Mapping[str, str]:
    """Return the parameters of an address, without empty ones, which forms send. Raise `Invalid`, `Malformed`."""
    given = unique_parameters(request)
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise Malformed(f"This page takes no parameter {unknown[0]!r}; it takes {', '.join(known)}.")
    return {name: value.strip() for name, value in given.items() if value.strip()}


def _to_login(request: Request) -> Answer:
    """Send a browser to the login, and back afterwards; a poll of an open page has it load the login itself."""
    back = request.full_path.rstrip("?") if request.method == "GET" else "/"
    where = f"/login?back={quote(back, safe='/')}" if back != "/" else "/login"
    if "HX-Request" in request.headers:
        return Answer("", 401, {"HX-Redirect": where, "WWW-Authenticate": "Bearer"}, content_type="text/plain")
    return Answer("", 303, {"Location": where}, content_type="text/plain")
