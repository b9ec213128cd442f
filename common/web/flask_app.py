"""Flask, without what no answer of ours needs: sessions, redirects, coroutines, names of hosts.

What is left out costs a third of the processor time that Flask takes for a request (docs/performance.md), and is left
out through what Flask offers for it: an interface for sessions, a class of responses, overridden methods.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

_NO_METHOD: Final = "-"

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Answer(Response):
    """A response whose headers say all there is to say, and whose body is at hand as a list, which granian sends whole.

    From an iterator granian takes piece by piece, each with a wait for the interpreter lock, on a stream of its own.
    """

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Send it. Werkzeug's own makes Location absolute and corrects paths that are right."""
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]


class _NoSessions(SessionInterface):
    """There are none: each request tells its user by its token."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature, as below
        return self._none

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002
        return True


class App(Flask):
    """Flask for JSON over plain functions."""

    response_class = Answer
    session_interface = _NoSessions()

    def __init__(self, name: str) -> None:
        """Make it without files, templates, OPTIONS and redirects."""
        super().__init__(name, static_folder=None, template_folder=None)
        self.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
        self.url_map.merge_slashes = False  # would answer with a redirect

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Take it as it is: to find out five times in each request that it is no coroutine costs as much as JSON."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone: we know no hosts, and write no URL that would name one.

        Methods are as they came: "post" is none (RFC 9110, 9.1). Werkzeug takes it for POST, and so it would pass what
        stands before us and refuses POST.
        """
        if request is None:
            return None
        method = request.method if request.environ["REQUEST_METHOD"] == request.method else _NO_METHOD
        return self.url_map.bind("", path_info=request.path, default_method=method)
