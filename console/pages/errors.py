"""Errors as pages, for browsers: what an `Api` answers as a problem is shown with the same status and words."""

import json
from typing import Final

from flask import Flask, Response

from common.errors import Forbidden, Unauthenticated
from common.web.problems import CONTENT_TYPE
from common.web.requests import current_request
from console.pages.rendering import Templates
from console.pages.site import HTML
from console.pages.viewer import Sessions, Viewer

_WHAT_TO_DO: Final = {
    401: "Log in again: a login lasts for 30 minutes, or until its token expires.",
    403: "Nothing was changed.",
    404: "It may be another user's, or never have been.",
    503: "Try again in a moment. If you sent a form, look first whether it was done.",
}


def install(app: Flask, sessions: Sessions, templates: Templates) -> None:
    """Show problems as pages to who reads pages."""

    def as_page(response: Response) -> Response:
        if response.content_type != CONTENT_TYPE or not _reads_pages():
            return response
        problem = json.loads(response.get_data())
        advice = _WHAT_TO_DO.get(response.status_code, "")
        given = {"problem": problem, "advice": advice, "viewer": _viewer(sessions)}
        response.set_data(templates.render("error.html", given))
        response.content_type = HTML
        return response

    app.after_request(as_page)


def _viewer(sessions: Sessions) -> Viewer | None:
    try:
        return sessions.viewer(current_request())
    except (Unauthenticated, Forbidden):
        return None


def _reads_pages() -> bool:
    return "text/html" in current_request().headers.get("Accept", "")
