"""WeChat Pay v3, by native orders (a code that the customer scans); see docs/wechat.md.

A try is an order of WeChat Pay's, its `reference` the `out_trade_no`, which is our attempt's id: the same again is the
same order. Money is a `transaction_id`, of which an order has one. A refund's `out_refund_no` is its key: WeChat Pay
sends back once for each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from common.config import Settings
from common.errors import Malformed
from common.schema import parse_id
from halfmessage.clock import rfc3339
from halfmessage.errors import Misconfigured
from pay.providers.port import Asked, Begun, Kind, ProviderEvent, ProviderUnavailable, Refund, RefundState

_CURRENCY: Final = "CNY"
_LONGER: Final = 120_000  # ms that an order of WeChat Pay's lives beyond ours: one of less than a minute is refused
_OK, _NO_CONTENT, _NOT_FOUND = 200, 204, 404
_REFUSALS: Final = frozenset({"PARAM_ERROR", "RULE_LIMIT", "ACCOUNT_ERROR"})
"""Of an order: nothing was begun. Any other code may be about one that was begun before, or about our account."""
_NEEDED: Final = (
    "wechat_app_id",
    "wechat_merchant_id",
    "wechat_certificate_serial",
    "wechat_private_key_file",
    "wechat_api_secret",
)
_TRADES: Final = {
    "SUCCESS": Kind.SUCCEEDED,
    "REFUND": Kind.SUCCEEDED,  # and part or all of it went back since
    "CLOSED": Kind.EXPIRED,
    "REVOKED": Kind.FAILED,
    "PAYERROR": Kind.FAILED,
}
_REFUNDS: Final = {
    "SUCCESS": RefundState.DONE,
    "PROCESSING": RefundState.PENDING,
    "CLOSED": RefundState.REFUSED,
    "ABNORMAL": RefundState.REFUSED,  # the customer's account is closed, for example: it is done by hand
}


class WechatProvider:
    """Implements `Provider`."""

    name = "wechat"

    def __init__(self, settings: Settings) -> None:
        """Take keys from the settings. Raise `Misconfigured` where one is missing, or the library is."""
        missing = [name for name in _NEEDED if not getattr(settings, name)]
        if not (settings.wechat_public_key_file and settings.wechat_public_key_id) and not settings.wechat_certificates:
            missing += ["wechat_public_key_file", "wechat_public_key_id"]
        if missing:
            told = ", ".join(f"ORDERS_{name.upper()}" for name in missing)
            raise Misconfigured(f"ORDERS_PROVIDERS names wechat, which needs {told}; see docs/wechat.md.")
        try:
            from pay.providers.wechat_client import WechatClient  # noqa: PLC0415 - not everybody has the library
        except ModuleNotFoundError as error:
            raise Misconfigured(
                "ORDERS_PROVIDERS names wechat, whose library is not installed: install the extra [wechat]."
            ) from error
        self._client = WechatClient(settings, f"{settings.callbacks_to}/callbacks/{self.name}")

    def begin(self, asked: Asked) -> Begun:
        """See `Provider`. The same parameters each time: an order of the same number with others is refused."""
        reference = str(asked.attempt_id)
        if asked.currency != _CURRENCY:
            return _refused(asked, f"WeChat Pay takes {_CURRENCY} only.")
        status, answer = self._client.call(
            "pay",
            description=f"Order {asked.payment_id}",
            out_trade_no=reference,
            amount={"total": asked.amount, "currency": _CURRENCY},
            attach=str(asked.payment_id),
            time_expire=rfc3339((asked.expires_at + _LONGER) // 1000 * 1000).replace(".000Z", "+00:00"),
        )
        if status != _OK and answer.get("code") in _REFUSALS:
            return _refused(asked, str(answer.get("message")))
        return Begun(reference, _expect(status, answer)["code_url"])

    def ask(self, reference: str) -> Sequence[ProviderEvent]:
        """See `Provider`."""
        status, answer = self._client.call("query", out_trade_no=reference)
        if status == _NOT_FOUND:  # it was refused, or never begun
            return []
        trade = _expect(status, answer)
        event = _of_trade(trade, f"{reference}:{trade['trade_state']}", orjson.dumps(trade))
        return [] if event is None else [event]

    def close(self, reference: str) -> None:
        """See `Provider`. What can't be closed was paid, or never begun: both are told by `ask`."""
        self._client.call("close", out_trade_no=reference)

    def refund(self, charge_id: str, amount: int, currency: str, key: str) -> Refund:
        """See `Provider`."""
        if currency != _CURRENCY:
            return Refund(RefundState.REFUSED, reason=f"WeChat Pay takes {_CURRENCY} only.")
        status, answer = self._client.call(
            "refund",
            out_refund_no=key,
            transaction_id=charge_id,
            amount={"refund": amount, "total": amount, "currency": _CURRENCY},
        )
        if status != _OK:  # it may refuse what it has done before
            known, found = self._client.call("query_refund", out_refund_no=key)
            if known != _OK:
                return Refund(RefundState.REFUSED, reason=f"{answer.get('code')}: {answer.get('message')}")
            answer = found
        state = _REFUNDS.get(answer["status"], RefundState.PENDING)
        return Refund(state, answer["refund_id"], answer["status"] if state is RefundState.REFUSED else None)

    def read(self, headers: Mapping[str, str], raw: bytes) -> ProviderEvent:
        """See `Provider`."""
        told = self._client.told(headers, raw)
        try:
            return _of_notification(told, raw)
        except (KeyError, TypeError, AttributeError) as error:
            raise Malformed("The notification can't be read.") from error

    def thanks(self) -> tuple[bytes, str]:
        """See `Provider`."""
        return b'{"code":"SUCCESS"}', "application/json"


def _expect(status: int, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if status not in {_OK, _NO_CONTENT}:
        raise ProviderUnavailable(f"WeChat Pay answered {status} {answer.get('code')}.")
    return answer


def _refused(asked: Asked, reason: str) -> Begun:
    """Return that WeChat Pay refused to begin a try: nothing was taken, and nothing will be."""
    reference = str(asked.attempt_id)
    raw = orjson.dumps({"refused": reason})
    event = ProviderEvent(
        f"{reference}:refused", Kind.FAILED, asked.payment_id, raw, reason=reason, reference=reference
    )
    return Begun(reference, event=event)


def _of_trade(trade: Mapping[str, Any], event_id: str, raw: bytes) -> ProviderEvent | None:
    """Return what an order of WeChat Pay's says; None while it may still be paid."""
    kind = _TRADES.get(trade["trade_state"])
    payment_id = parse_id(trade.get("attach") or "")
    if kind is None:
        return None
    if kind is not Kind.SUCCEEDED:
        reason = trade.get("trade_state_desc")
        return ProviderEvent(event_id, kind, payment_id, raw, reason=reason, reference=trade["out_trade_no"])
    return ProviderEvent(
        event_id,
        kind,
        payment_id,
        raw,
        charge_id=trade["transaction_id"],
        amount=trade["amount"]["total"],
        currency=trade["amount"].get("currency", _CURRENCY),
        reference=trade["out_trade_no"],
    )


def _of_notification(told: Mapping[str, Any], raw: bytes) -> ProviderEvent:
    event_id, kind, about = told["id"], told["event_type"], told["resource"]
    found: ProviderEvent | None = None
    if kind.startswith("TRANSACTION."):
        found = _of_trade(about, event_id, raw)
    elif kind.startswith("REFUND."):
        found = _of_refund(about, event_id, raw)
    return found or ProviderEvent(event_id, Kind.OTHER, None, raw)


def _of_refund(refund: Mapping[str, Any], event_id: str, raw: bytes) -> ProviderEvent | None:
    state = _REFUNDS.get(refund["refund_status"], RefundState.PENDING)
    if state is RefundState.PENDING:
        return None
    refused = state is RefundState.REFUSED
    return ProviderEvent(
        event_id,
        Kind.REFUND_REFUSED if refused else Kind.REFUNDED,
        None,
        raw,
        charge_id=refund["transaction_id"],
        amount=refund["amount"]["refund"],
        currency=_CURRENCY,
        reason=refund["refund_status"] if refused else None,
    )
