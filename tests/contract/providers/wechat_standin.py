"""A stand-in for WeChat Pay v3 that signs and encrypts as it does, with keys and certificates made in the test.

What it does is what pay.weixin.qq.com says of native orders, refunds, signatures and notifications.
"""

import datetime as dt
import itertools
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from tests.contract.providers.standin import Answer

Json = dict[str, Any]
API_SECRET = "0123456789abcdef0123456789abcdef"
MERCHANT, APP, SERIAL = "1900000001", "wx0123456789abcdef", "444F4864EA9B34415A"
PUBLIC_KEY_ID = "PUB_KEY_ID_0119000000012024010100000000000001"
_AUTHORIZATION = re.compile(r'([a-z_]+)="([^"]*)"')


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate_of(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Return a platform certificate, valid now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform of a test")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, SHA256())
    )


class Keys:
    """The merchant's key and the platform's, and the platform's certificate, as files."""

    def __init__(self, directory: Path) -> None:
        self.merchant, self.platform, self.stranger = (rsa.generate_private_key(65537, 2048) for _ in range(3))
        self.certificate = certificate_of(self.platform)
        self.serial = f"{self.certificate.serial_number:X}"
        self.private_file, self.public_file = directory / "merchant.pem", directory / "platform.pem"
        self.private_file.write_bytes(private_pem(self.merchant))
        self.public_file.write_bytes(public_pem(self.platform))
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        (self.certificates / f"{self.serial}.pem").write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def signed(self, raw: bytes, at: float, *, serial: str = PUBLIC_KEY_ID, foreign: bool = False) -> dict[str, str]:
        """Return the headers of what the platform sends."""
        stamp, nonce = str(int(at)), "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"
        key = self.stranger if foreign else self.platform
        signature = key.sign(f"{stamp}\n{nonce}\n".encode() + raw + b"\n", padding.PKCS1v15(), SHA256())
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature": b64encode(signature).decode(),
            "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        }


def notification(kind: str, resource: Json, *, secret: str = API_SECRET) -> bytes:
    """Return a notification whose resource is encrypted."""
    nonce, about = "fdasflkja484", "transaction"
    sealed = AESGCM(secret.encode()).encrypt(nonce.encode(), orjson.dumps(resource), about.encode())
    return orjson.dumps(
        {
            "id": "EV-2018022511223320873",
            "create_time": "2026-01-01T00:00:00+08:00",
            "resource_type": "encrypt-resource",
            "event_type": kind,
            "summary": "",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": b64encode(sealed).decode(),
                "nonce": nonce,
                "associated_data": about,
                "original_type": about,
            },
        }
    )


class WechatServer:
    """Answers as WeChat Pay does."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.trades: dict[str, Json] = {}  # by out_trade_no
        self.refunds: dict[str, Json] = {}  # by out_refund_no
        self.asked: list[str] = []  # method and path
        self.refund_status = "SUCCESS"
        self.refuses: Answer | None = None
        self.signs = True
        self._numbers = itertools.count(1)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, _, _ = path.partition("?")
        self.asked.append(f"{method} {path}")
        if not self._is_signed(method, headers, body):
            return _error(401, "SIGN_ERROR")
        status, _, content = self.refuses or self._answer(method, path, orjson.loads(body) if body else {})
        signed = self.keys.signed(content, time.time(), foreign=not self.signs)
        return status, {"Content-Type": "application/json; charset=utf-8", **signed}, content

    def pay(self, out_trade_no: str) -> None:
        """Have the customer pay: what is closed can't be."""
        trade = self.trades[out_trade_no]
        if trade["trade_state"] == "NOTPAY":
            trade |= {"trade_state": "SUCCESS", "transaction_id": f"42000000{next(self._numbers):020}"}

    def _is_signed(self, method: str, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether it is signed by the merchant's key; raises where it is not."""
        told = dict(_AUTHORIZATION.findall(headers["authorization"]))
        self._path = self.asked[-1].partition(" ")[2]
        query = f"?mchid={MERCHANT}" if method == "GET" and "transactions" in self._path else ""
        signed = f"{method}\n{self._path}{query}\n{told['timestamp']}\n{told['nonce_str']}\n".encode() + body + b"\n"
        self.keys.merchant.public_key().verify(b64decode(told["signature"]), signed, padding.PKCS1v15(), SHA256())
        return bool(told["mchid"] == MERCHANT and told["serial_no"] == SERIAL)

    def _answer(self, method: str, path: str, body: Json) -> Answer:
        match [method, *path.strip("/").split("/")[1:]]:
            case ["POST", "pay", "transactions", "native"]:
                return self._begin(body)
            case ["GET", "pay", "transactions", "out-trade-no", number] if number in self.trades:
                return _ok(self.trades[number])
            case ["POST", "pay", "transactions", "out-trade-no", number, "close"] if number in self.trades:
                return self._close(self.trades[number])
            case ["POST", "refund", "domestic", "refunds"]:
                return self._refund(body)
            case ["GET", "refund", "domestic", "refunds", number] if number in self.refunds:
                return _ok(self.refunds[number])
        return _error(404, "ORDER_NOT_EXIST")

    def _begin(self, body: Json) -> Answer:
        number = body["out_trade_no"]
        known = self.trades.get(number)
        if known is not None and known["asked"] != body:
            return _error(400, "INVALID_REQUEST")
        self.trades.setdefault(number, {
            "asked": body,
            "out_trade_no": number,
            "trade_state": "NOTPAY",
            "attach": body["attach"],
            "amount": {**body["amount"], "payer_total": body["amount"]["total"]},
        })  # fmt: skip
        return _ok({"code_url": f"weixin://wxpay/bizpayurl?pr={number}"})

    def _close(self, trade: Json) -> Answer:
        if trade["trade_state"] != "NOTPAY":
            return _error(400, "ORDER_CLOSED" if trade["trade_state"] == "CLOSED" else "ORDERPAID")
        trade["trade_state"] = "CLOSED"
        return 204, {}, b""

    def _refund(self, body: Json) -> Answer:
        number, charge = body["out_refund_no"], body["transaction_id"]
        if charge not in {trade.get("transaction_id") for trade in self.trades.values()}:
            return _error(404, "RESOURCE_NOT_EXISTS")
        if number not in self.refunds:
            if charge in {refund["transaction_id"] for refund in self.refunds.values()}:
                return _error(400, "INVALID_REQUEST")
            self.refunds[number] = {
                "refund_id": f"50000000{next(self._numbers)}",
                "out_refund_no": number,
                "transaction_id": charge,
                "status": self.refund_status,
                "amount": body["amount"],
            }
        return _ok(self.refunds[number])


def _ok(content: Json) -> Answer:
    return 200, {}, orjson.dumps(content)


def _error(status: int, code: str) -> Answer:
    return status, {}, orjson.dumps({"code": code, "message": f"words about {code}"})
