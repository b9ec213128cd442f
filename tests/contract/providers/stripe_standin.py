"""A stand-in for Stripe that remembers, as stripe-mock does not: sessions, refunds, and answers by idempotency key.

What it does is what docs.stripe.com/api says of Checkout Sessions, Refunds, errors and idempotent requests; that our
parameters are Stripe's is stripe-mock's to say.
"""

import itertools
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from tests.contract.providers.standin import Answer

Json = dict[str, Any]


class StripeServer:
    """Answers as Stripe does."""

    def __init__(self) -> None:
        self.sessions: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.sent: list[tuple[str, str, Json]] = []  # method, path, parameters
        self.refund_status = "succeeded"
        self._answers: dict[str, tuple[Json, Answer]] = {}  # by idempotency key: parameters, and what was answered
        self._numbers = itertools.count(1)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, _, query = path.partition("?")
        parameters = dict(parse_qsl(body.decode() if method == "POST" else query))
        self.sent.append((method, path, parameters))
        key = headers.get("idempotency-key") if method == "POST" else None
        known = self._answers.get(key or "")
        if known is not None:
            if known[0] != parameters:
                return _error(400, "idempotency_error", "Keys for idempotent requests are for the same parameters.")
            return known[1]
        answer = self._answer(method, path, parameters)
        if key is not None:
            self._answers[key] = (parameters, answer)
        return answer

    def pay(self, session_id: str) -> None:
        """Have the customer pay: what is not open any more can't be."""
        session = self.sessions[session_id]
        if session["status"] == "open":
            session |= {"status": "complete", "payment_status": "paid", "payment_intent": f"pi_{next(self._numbers)}"}

    def _answer(self, method: str, path: str, parameters: Json) -> Answer:  # noqa: PLR0911 - one for each call
        match [method, *path.strip("/").split("/")[1:]]:
            case ["POST", "checkout", "sessions"]:
                return self._begin(parameters)
            case ["GET", "checkout", "sessions", session_id] if session_id in self.sessions:
                return _ok(self.sessions[session_id])
            case ["POST", "checkout", "sessions", session_id, "expire"] if session_id in self.sessions:
                return self._expire(self.sessions[session_id])
            case ["POST", "refunds"]:
                return self._refund(parameters)
            case ["GET", "refunds"]:
                return _ok({"object": "list", "data": self._of(parameters["payment_intent"]), "has_more": False})
            case ["GET", "refunds", refund_id] if refund_id in self.refunds:
                return _ok(self.refunds[refund_id])
        return _error(404, "invalid_request_error", f"No such object: {path}", "resource_missing")

    def _begin(self, parameters: Json) -> Answer:
        amount = int(parameters["line_items[0][price_data][unit_amount]"])
        if amount < 50:
            return _error(400, "invalid_request_error", "The amount is too small.", "amount_too_small")
        session_id = f"cs_{next(self._numbers)}"
        names = {
            name.removeprefix("metadata[")[:-1]: v for name, v in parameters.items() if name.startswith("metadata")
        }
        self.sessions[session_id] = {
            "id": session_id,
            "object": "checkout.session",
            "url": f"https://checkout.example/{session_id}",
            "status": "open",
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": amount,
            "currency": parameters["line_items[0][price_data][currency]"],
            "metadata": names,
        }
        return _ok(self.sessions[session_id])

    def _expire(self, session: Json) -> Answer:
        if session["status"] != "open":
            return _error(400, "invalid_request_error", "Only open sessions can be expired.")
        session["status"] = "expired"
        return _ok(session)

    def _refund(self, parameters: Json) -> Answer:
        intent = parameters["payment_intent"]
        if intent not in {session["payment_intent"] for session in self.sessions.values()}:
            return _error(404, "invalid_request_error", f"No such payment_intent: {intent}", "resource_missing")
        if [refund for refund in self._of(intent) if refund["status"] not in {"failed", "canceled"}]:
            return _error(400, "invalid_request_error", "It has been refunded.", "charge_already_refunded")
        refund_id = f"re_{next(self._numbers)}"
        key = parameters["metadata[orders_refund_key]"]
        self.refunds[refund_id] = {
            "id": refund_id,
            "object": "refund",
            "payment_intent": intent,
            "amount": int(parameters["amount"]),
            "currency": next(s["currency"] for s in self.sessions.values() if s["payment_intent"] == intent),
            "status": self.refund_status,
            "metadata": {"orders_refund_key": key},
        }
        return _ok(self.refunds[refund_id])

    def _of(self, intent: str) -> list[Json]:
        return [refund for refund in self.refunds.values() if refund["payment_intent"] == intent]


def _ok(content: Json) -> Answer:
    return 200, {"Content-Type": "application/json", "Request-Id": "req_1"}, orjson.dumps(content)


def _error(status: int, kind: str, message: str, code: str | None = None) -> Answer:
    error = {"type": kind, "message": message} | ({} if code is None else {"code": code})
    return status, {"Content-Type": "application/json", "Request-Id": "req_1"}, orjson.dumps({"error": error})
