"""The contract of providers on WeChat Pay's adapter and a stand-in; what is WeChat Pay's own: keys, CNY, refunds."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halfmessage.errors import Misconfigured
from pay.providers.port import Asked, BadSignature, Begun, Kind, Provider, ProviderUnavailable, RefundState
from pay.providers.wechat import WechatProvider
from tests.contract.provider import EXPIRES_AT, Callback, ProviderContract
from tests.contract.providers.settings import WITHIN, settings
from tests.contract.providers.standin import serving
from tests.contract.providers.wechat_standin import (
    API_SECRET,
    APP,
    MERCHANT,
    PUBLIC_KEY_ID,
    SERIAL,
    Keys,
    WechatServer,
    notification,
)


class WechatStand:
    """WeChat Pay's adapter before a stand-in."""

    currency = "CNY"

    def __init__(self, url: str, server: WechatServer) -> None:
        self.server = server
        self.keys = server.keys
        self.given: dict[str, Any] = {
            "wechat_app_id": APP,
            "wechat_merchant_id": MERCHANT,
            "wechat_certificate_serial": SERIAL,
            "wechat_private_key_file": self.keys.private_file,
            "wechat_api_secret": API_SECRET,
            "wechat_public_key_file": self.keys.public_file,
            "wechat_public_key_id": PUBLIC_KEY_ID,
        }
        self.url = url
        self.provider = self.at(url)

    def at(self, url: str, *, within: float = WITHIN) -> Provider:
        return WechatProvider(settings(**self.given, wechat_api=url, within=within))

    def pay(self, begun: Begun) -> None:
        self.server.pay(begun.reference)

    def refunds(self) -> int:
        return len(self.server.refunds)

    def callback(self, begun: Begun, *, at: float, foreign: bool = False) -> Callback:
        trade = {k: v for k, v in self.server.trades[begun.reference].items() if k != "asked"}
        return self.told("TRANSACTION.SUCCESS", trade, at=at, foreign=foreign)

    def garbage(self) -> Callback:
        return self.told("TRANSACTION.SUCCESS", {"nonsense": True})

    def told(self, kind: str, about: dict[str, Any], *, at: float | None = None, **signing: Any) -> Callback:
        raw = notification(kind, about)
        headers = self.keys.signed(raw, time.time() if at is None else at, **signing)
        return {name.lower(): value for name, value in headers.items()}, raw


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Make them once: three keys of 2,048 bits take a second."""
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def stand(keys: Keys) -> Iterator[WechatStand]:
    server = WechatServer(keys)
    with serving(server.handle) as url:
        yield WechatStand(url, server)


class TestWechat(ProviderContract):
    """See `ProviderContract`; every call is signed with the merchant's key, and every answer's signature checked."""

    @pytest.fixture
    def stand(self, stand: WechatStand) -> WechatStand:
        return stand


def asked(currency: str = "CNY") -> Asked:
    return Asked(5_001, 7_001, 1250, currency, EXPIRES_AT)


def paid(stand: WechatStand) -> str:
    """Return the charge of a try that was paid."""
    begun = stand.provider.begin(asked())
    stand.pay(begun)
    (event,) = stand.provider.ask(begun.reference)
    assert event.charge_id is not None
    return event.charge_id


def test_other_currencies_end_the_try_at_once(stand: WechatStand) -> None:
    """Nothing is sent, the reason is told; nor is money of another currency sent back."""
    event = stand.provider.begin(asked("EUR")).event
    assert event is not None
    assert (event.kind, event.reason) == (Kind.FAILED, "WeChat Pay takes CNY only.")
    assert stand.provider.refund("42", 1, "EUR", "key-1").state is RefundState.REFUSED
    assert stand.server.asked == []


def test_what_wechat_pay_refuses_ends_the_try_with_its_words(stand: WechatStand) -> None:
    """An amount above its limit, for example."""
    stand.server.refuses = (400, {}, '{"code":"RULE_LIMIT","message":"超出限额"}'.encode())
    event = stand.provider.begin(asked()).event
    assert event is not None
    assert (event.kind, event.reason) == (Kind.FAILED, "超出限额")


@pytest.mark.parametrize("code", ["INVALID_REQUEST", "NO_AUTH", "OUT_TRADE_NO_USED"])
def test_a_refusal_that_may_be_about_an_earlier_try_says_nothing_of_the_money(stand: WechatStand, code: str) -> None:
    """The same number may have been paid: the try goes on, and is asked for."""
    stand.server.refuses = (400, {}, f'{{"code":"{code}","message":"?"}}'.encode())
    with pytest.raises(ProviderUnavailable):
        stand.provider.begin(asked())


def test_an_answer_that_is_not_signed_by_wechat_pay_is_none(stand: WechatStand) -> None:
    """Whichever client sent it."""
    stand.server.signs = False
    with pytest.raises(ProviderUnavailable):
        stand.provider.begin(asked())


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("SUCCESS", RefundState.DONE),
        ("PROCESSING", RefundState.PENDING),
        ("CLOSED", RefundState.REFUSED),
        ("ABNORMAL", RefundState.REFUSED),
    ],
)
def test_where_a_refund_stands(stand: WechatStand, status: str, state: RefundState) -> None:
    """Only a success sent money back; what has to be done by hand is refused with a reason."""
    charge_id = paid(stand)
    stand.server.refund_status = status
    refund = stand.provider.refund(charge_id, 1250, "CNY", "key-1")
    assert (refund.state, bool(refund.reason)) == (state, state is RefundState.REFUSED)


def test_a_refusal_of_a_refund_that_was_done_is_looked_up(stand: WechatStand) -> None:
    """WeChat Pay may refuse to repeat what it has done: its record of the refund tells."""
    charge_id = paid(stand)
    first = stand.provider.refund(charge_id, 1250, "CNY", "key-1")
    stand.server._refund = lambda _: (400, {}, b'{"code":"INVALID_REQUEST","message":"done"}')  # type: ignore[method-assign]
    assert stand.provider.refund(charge_id, 1250, "CNY", "key-1") == first


@pytest.mark.parametrize(
    ("kind", "about", "meaning"),
    [
        ("REFUND.SUCCESS", {"refund_status": "SUCCESS"}, Kind.REFUNDED),
        ("REFUND.ABNORMAL", {"refund_status": "ABNORMAL"}, Kind.REFUND_REFUSED),
        ("REFUND.CLOSED", {"refund_status": "CLOSED"}, Kind.REFUND_REFUSED),
        ("REFUND.SUCCESS", {"refund_status": "PROCESSING"}, Kind.OTHER),
        ("TRANSACTION.SUCCESS", {"trade_state": "USERPAYING"}, Kind.OTHER),
        ("TRANSACTION.SUCCESS", {"trade_state": "CLOSED", "out_trade_no": "7001"}, Kind.EXPIRED),
        ("COMPLAINT.CREATE", {"complaint_id": "1"}, Kind.OTHER),
    ],
)
def test_what_notifications_mean(stand: WechatStand, kind: str, about: dict[str, Any], meaning: Kind) -> None:
    """By what they hold, not by their name alone."""
    whole = {"transaction_id": "42", "amount": {"refund": 1250, "total": 1250}, **about}
    assert stand.provider.read(*stand.told(kind, whole)).kind is meaning


def test_a_notification_of_a_key_that_is_not_known_asks_for_nothing(stand: WechatStand) -> None:
    """The library would ask WeChat Pay for certificates, each time a client sends one."""
    for serial in ("00FF", "PUB_KEY_ID_OTHER", "no number", ""):
        with pytest.raises(BadSignature):
            stand.provider.read(*stand.told("TRANSACTION.SUCCESS", {}, serial=serial))
    assert stand.server.asked == []


def test_a_notification_that_is_sealed_with_another_secret_is_refused(stand: WechatStand) -> None:
    """It is signed by WeChat Pay, and not for us."""
    raw = notification("TRANSACTION.SUCCESS", {}, secret=API_SECRET[::-1])
    headers = {name.lower(): value for name, value in stand.keys.signed(raw, time.time()).items()}
    with pytest.raises(BadSignature):
        stand.provider.read(headers, raw)


def test_wechat_pay_tries_whether_signatures_are_checked(stand: WechatStand) -> None:
    """It sends some that can't be right, and expects them to be refused."""
    headers, raw = stand.told("TRANSACTION.SUCCESS", {})
    with pytest.raises(BadSignature):
        stand.provider.read({**headers, "wechatpay-signature": "WECHATPAY/SIGNTEST/" + "A" * 300}, raw)


def test_platform_certificates_instead_of_a_public_key(stand: WechatStand) -> None:
    """As merchants of before 2024 have them: from a folder."""
    del stand.given["wechat_public_key_file"], stand.given["wechat_public_key_id"]
    provider = WechatProvider(settings(**stand.given, wechat_certificates=stand.keys.certificates))
    trade = {"trade_state": "SUCCESS", "out_trade_no": "7001", "transaction_id": "42", "amount": {"total": 5}}
    event = provider.read(*stand.told("TRANSACTION.SUCCESS", trade, serial=stand.keys.serial))
    assert (event.kind, event.amount, event.currency) == (Kind.SUCCEEDED, 5, "CNY")
    with pytest.raises(BadSignature):
        provider.read(*stand.told("TRANSACTION.SUCCESS", trade, serial=PUBLIC_KEY_ID))


@pytest.mark.parametrize(
    "name",
    ["wechat_app_id", "wechat_merchant_id", "wechat_certificate_serial", "wechat_private_key_file", "wechat_api_secret",
     "wechat_public_key_file", "wechat_public_key_id"],
)  # fmt: skip
def test_what_is_missing_is_named(stand: WechatStand, name: str) -> None:
    """Before anything starts."""
    del stand.given[name]
    with pytest.raises(Misconfigured, match=f"ORDERS_{name.upper()}"):
        stand.at(stand.url)


def test_keys_that_can_t_be_read_are_said_so(stand: WechatStand, tmp_path: Path) -> None:
    """A file that is not there, or holds no key."""
    stand.given["wechat_private_key_file"] = tmp_path / "none.pem"
    with pytest.raises(Misconfigured, match=r"none\.pem"):
        stand.at(stand.url)
    (tmp_path / "none.pem").write_text("no key")
    with pytest.raises(Misconfigured, match="private key"):
        stand.at(stand.url)


def test_a_library_that_is_missing_is_named(stand: WechatStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(__import__("sys").modules, "pay.providers.wechat_client", None)
    with pytest.raises(Misconfigured, match=r"install the extra \[wechat\]"):
        stand.at(stand.url)
