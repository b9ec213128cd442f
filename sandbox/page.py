"""The page where a person pays: plain HTML, without scripts, of nothing but what the sandbox itself sends.

Its address can't be guessed, and no cookie stands for it: who has it may pay, and no other site can have it sent for
them. No other site may show it in a frame, either.
"""

from collections.abc import Callable, Mapping
from typing import Final

from flask import Request
from jinja2 import Environment, PackageLoader, StrictUndefined

from common.currencies import written
from common.errors import Malformed
from common.web import Api
from common.web.flask_app import Answer
from common.web.forms import read_form
from common.web.requests import current_request, refuse_parameters
from halfmessage.clock import now_ms, rfc3339
from sandbox.model import SessionState
from sandbox.service.asking import Asking
from sandbox.service.reading import Reader, Session
from sandbox.service.scenarios import scenario

_MOST_FIELDS: Final = 4
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_TOLD: Final = {
    SessionState.OPEN: "Not paid yet",
    SessionState.PAID: "Paid",
    SessionState.DECLINED: "Declined",
    SessionState.CLOSED: "Closed",
}
Act = Callable[[str], Session]


def install(api: Api, asking: Asking, reader: Reader) -> None:
    """Add the page's routes to the application of `api`."""
    templates = Environment(loader=PackageLoader("sandbox"), autoescape=True, undefined=StrictUndefined)
    templates.filters |= {"rfc3339": rfc3339, "time": _time}
    acts: dict[str, Act] = {
        "pay": asking.pay,
        "twice": lambda reference: asking.pay(reference, times=2),
        "decline": asking.decline,
        "wait": asking.wait,
    }

    def show(reference: str) -> Answer:
        refuse_parameters(current_request())
        html = templates.get_template("page.html").render(_shown(reader.session(reference), reader))
        return Answer(html, content_type="text/html; charset=utf-8", headers=_HEADERS)

    def act(reference: str) -> Answer:
        chosen = _choice(current_request(), api)
        back = f"/page/{reference}"
        if chosen == "leave":  # who closes the tab does nothing
            back += "#left"
        elif chosen in acts:
            acts[chosen](reference)
        else:
            raise Malformed("The form has no such choice.")
        return Answer("", 303, {**_HEADERS, "Location": back}, content_type="text/plain")

    def style() -> Answer:
        refuse_parameters(current_request())
        css = templates.get_template("page.css").render()
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Answer(css, content_type="text/css; charset=utf-8", headers=headers)

    api.app.add_url_rule("/page.css", view_func=style)
    api.app.add_url_rule("/page/<word:reference>", "show_page_of_session", show)
    api.app.add_url_rule("/page/<word:reference>", "act_on_page", act, methods=["POST"])


def _time(ms: int) -> str:
    return f"{rfc3339(ms)[:19].replace('T', ' ')} UTC"


def _choice(request: Request, api: Api) -> str:
    """Return which button was pressed. Raise `UnsupportedMediaType`, `Malformed` or what reading a body raises."""
    fields = dict(read_form(request, api.bodies.read_of_stranger, most_fields=_MOST_FIELDS))
    return fields.get("choice", "")


def _shown(session: Session, reader: Reader) -> dict[str, object]:
    row = session.row
    charges = [
        {
            "id": charge.row.charge_id,
            "amount": written(charge.row.amount, charge.row.currency),
            "at": charge.row.created_at,
            "refunds": [{"state": one.state, "reason": one.reason} for one in charge.refunds],
        }
        for charge in session.charges
    ]
    calls = [
        {"kind": one.kind, "state": one.state, "tries": one.tries, "answer": one.answer}
        for one in reader.callbacks(row.reference)
    ]
    return {
        "amount": written(row.amount, row.currency),
        "payment_id": row.payment_id,
        "state": row.state,
        "told": _TOLD[session.state],
        "reason": row.reason,
        "expires_at": row.expires_at,
        "is_over": now_ms() >= row.expires_at,
        "planned": reader.planned(session),
        "choices": session.state is SessionState.OPEN and scenario(row.scenario).by_hand,
        "scenario": row.scenario,
        "charges": charges,
        "callbacks": calls,
    }
