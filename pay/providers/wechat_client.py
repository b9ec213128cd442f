"""WeChat Pay's client: `wechatpayv3`, kept to what it can be trusted with. Imports it, which only who uses it needs.

The library checks the signature of what it is answered and told, and decrypts. Around it: an age for notifications,
which it does not look at; keys that are known already, as for any other key it would ask WeChat Pay for certificates,
even for a forged notification; and one error for all that it raises, which is `Exception`, requests' errors and others.
"""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from wechatpayv3 import WeChatPay, WeChatPayType

from common.config import Settings
from halfmessage.errors import Misconfigured
from pay.providers.port import BadSignature, ProviderUnavailable

log = structlog.get_logger()

_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_SERVER_ERROR: Final = 500
_NOT_NOW: Final = frozenset({401, 429})  # our own signature, or too many calls
_NO_CONTENT: Final[Mapping[str, Any]] = {}


class WechatClient:
    """Calls WeChat Pay, and reads what it sends."""

    def __init__(self, settings: Settings, notify_url: str) -> None:
        """Take keys and certificates from the settings; have notifications sent to `notify_url`.

        Raise `Misconfigured` where one can't be read.
        """
        half = settings.provider_timeout / 2  # the library's limit is one for connecting, and one for each piece
        try:
            self._client = WeChatPay(
                wechatpay_type=WeChatPayType.NATIVE,
                mchid=settings.wechat_merchant_id,
                private_key=_text(settings.wechat_private_key_file),
                cert_serial_no=settings.wechat_certificate_serial,
                appid=settings.wechat_app_id,
                apiv3_key=settings.wechat_api_secret.get_secret_value(),
                notify_url=notify_url,
                cert_dir=str(settings.wechat_certificates) if settings.wechat_certificates else None,
                timeout=(half, half),
                public_key=_text(settings.wechat_public_key_file) or None,
                public_key_id=settings.wechat_public_key_id or None,
            )
        except Exception as error:  # the library raises no other: a key or certificate that it can't read
            raise Misconfigured(f"WeChat Pay's keys can't be used: {error} See docs/wechat.md.") from error
        self._core: Any = self._client._core  # noqa: SLF001 - it has neither its address nor its keys elsewhere
        if settings.wechat_api:
            self._core._gate_way = settings.wechat_api  # noqa: SLF001
        self._tolerance = settings.callback_tolerance

    def call(self, name: str, **arguments: Any) -> tuple[int, Mapping[str, Any]]:
        """Call the library's method `name`; return the status and what was answered. Raise `ProviderUnavailable`."""
        try:
            status, text = getattr(self._client, name)(**arguments)
            answer = orjson.loads(text) if text else _NO_CONTENT
        except Exception as error:  # see the top
            log.warning("wechat pay did not answer", call=name, kind=type(error).__name__)
            raise ProviderUnavailable("WeChat Pay did not answer as it should; try again.") from error
        if status >= _SERVER_ERROR or status in _NOT_NOW:
            log.warning("wechat pay failed", call=name, status=status, code=answer.get("code"))
            raise ProviderUnavailable("WeChat Pay did not answer as it should; try again.")
        return status, answer

    def told(self, headers: Mapping[str, str], raw: bytes) -> Mapping[str, Any]:
        """Return a notification, its `resource` decrypted. Raise `BadSignature`."""
        at = headers.get("wechatpay-timestamp", "")
        if _SECONDS.fullmatch(at) is None or abs(time.time() - int(at)) > self._tolerance:
            raise BadSignature("The notification's signature is too old, or from the future.")
        if not self._knows(headers.get("wechatpay-serial", "")):
            raise BadSignature
        try:
            found = self._client.callback(dict(headers), raw)
        except Exception as error:  # see the top: it is not signed, or not encrypted, as WeChat Pay does
            raise BadSignature from error
        if found is None:
            raise BadSignature
        return dict(found)

    def _knows(self, serial: str) -> bool:
        if self._core._public_key_id:  # noqa: SLF001 - as above
            return bool(serial == self._core._public_key_id)  # noqa: SLF001
        return any(serial.upper() == f"{one.serial_number:X}" for one in self._core._certificates)  # noqa: SLF001


def _text(file: Path | None) -> str:
    """Return what is in a file. Raise `Misconfigured`."""
    try:
        return file.read_text() if file is not None else ""
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{file} can't be read: {error}") from error
