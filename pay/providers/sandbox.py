"""The sandbox: a provider of ours that takes no real money; see docs/payments.md."""

import hmac
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from common import sandbox as agreed
from common.config import Settings
from common.errors import Invalid, Malformed, PeerUnavailable
from common.peer import Peer
from common.registry import SANDBOX
from common.schema import parse_id
from halfmessage.clock import rfc3339
from pay.providers.port import (
    Asked,
    BadSignature,
    Begun,
    Kind,
    ProviderEvent,
    ProviderUnavailable,
    Refund,
    RefundState,
)

_SIGNED: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_OK, _NOT_FOUND, _UNPROCESSABLE = 200, 404, 422
_CONNECTIONS: Final = 16


class SandboxProvider:
    """Implements `Provider` on the sandbox's HTTP interface."""

    name = "sandbox"

    def __init__(self, settings: Settings) -> None:
        """Call the sandbox at `settings.sandbox_url`; have it call back at `settings.callback_base`."""
        key = agreed.api_key(settings.jwt_secret)
        self._key = agreed.callback_key(settings.jwt_secret)
        self._tolerance = settings.callback_tolerance
        self._callbacks_to = settings.callbacks_to
        self._peer = Peer(
            self.name, settings.url(SANDBOX), lambda: key, timeout=settings.peer_timeout, connections=_CONNECTIONS
        )

    def begin(self, asked: Asked) -> Begun:
        """See `Provider`. A word that is no scenario of the sandbox's is `Invalid`."""
        body = {
            "attempt_id": str(asked.attempt_id),
            "payment_id": str(asked.payment_id),
            "amount": asked.amount,
            "currency": asked.currency,
            "callback_url": self._callbacks_to,
            "expires_at": rfc3339(asked.expires_at),
            "scenario": asked.scenario,
        }
        status, session = self._call("POST", "/sessions", body)
        if status == _UNPROCESSABLE and asked.scenario is not None:
            raise Invalid(errors=[{"pointer": "/scenario", "message": "Input should be a scenario of the sandbox"}])
        session = _expect(status, session)
        events = _events(session)
        pay_url = None if events else session["page"]
        return Begun(session["reference"], pay_url, events[0] if events else None)

    def ask(self, reference: str) -> Sequence[ProviderEvent]:
        """See `Provider`."""
        return _events(_expect(*self._call("GET", f"/sessions/{quote(reference, safe='')}")))

    def close(self, reference: str) -> None:
        """See `Provider`."""
        _expect(*self._call("POST", f"/sessions/{quote(reference, safe='')}/close", {}))

    def refund(self, charge_id: str, amount: int, currency: str, key: str) -> Refund:
        """See `Provider`."""
        body = {"key": key, "amount": amount, "currency": currency}
        status, answer = self._call("POST", f"/charges/{quote(charge_id, safe='')}/refunds", body)
        if status in {_NOT_FOUND, _UNPROCESSABLE}:
            return Refund(RefundState.REFUSED, reason=str(answer.get("detail")))
        answer = _expect(status, answer)
        return Refund(RefundState(answer["state"]), answer["refund_id"], answer["reason"])

    def read(self, headers: Mapping[str, str], raw: bytes) -> ProviderEvent:
        """See `Provider`."""
        signed = _SIGNED.fullmatch(headers.get(agreed.SIGNATURE_HEADER.lower(), ""))
        if signed is None:
            raise BadSignature
        at, given = signed.groups()
        if not hmac.compare_digest(agreed.digest(self._key, raw, at), given):
            raise BadSignature
        if abs(time.time() - int(at)) > self._tolerance:
            raise BadSignature("The callback's signature is too old, or from the future.")
        return _read(raw)

    def thanks(self) -> tuple[bytes, str]:
        """See `Provider`."""
        return b"{}", "application/json"

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        try:
            return self._peer.call(method, path, body)
        except PeerUnavailable as error:
            raise ProviderUnavailable("The sandbox did not answer; try again.") from error


def _expect(status: int, answer: Any) -> Any:
    if status != _OK:
        raise ProviderUnavailable(f"The sandbox answered {status}.")
    return answer


def _events(session: Mapping[str, Any]) -> list[ProviderEvent]:
    """Return what happened in a session, in the words of the callbacks that tell the same."""
    whose = {name: session[name] for name in ("payment_id", "reference")}
    return [_event({**event, **whose}, orjson.dumps(event)) for event in session["events"]]


def _event(event: Mapping[str, Any], raw: bytes) -> ProviderEvent:
    return ProviderEvent(
        event_id=event["event_id"],
        kind=Kind(event["kind"]),
        payment_id=parse_id(event["payment_id"]),
        raw=raw,
        charge_id=event["charge_id"],
        amount=event["amount"],
        currency=event["currency"],
        reason=event["reason"],
        reference=event["reference"],
    )


def _read(raw: bytes) -> ProviderEvent:
    """Return what a callback says. Raise `Malformed`."""
    try:
        return _event(orjson.loads(raw), raw)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise Malformed("The callback can't be read.") from error
