"""Settings that contradict each other are refused before anything starts."""

import json
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from common.config import LONGEST_CALL, MOST_HASHES, Settings, explain
from common.consistency import faults_of
from common.lookups import LONGEST
from common.reservations.schema import LONGEST_BODY, MAX_ORDERS
from halfmessage.chunks import LINES
from pay.service.claims import CALLS_WITHIN

GOOD = {"port": 1, "jwt_secret": "s" * 32, "database_url": "sqlite://"}


def test_defaults_agree() -> None:
    """What is not set fits together."""
    Settings.model_validate(GOOD)


@pytest.mark.parametrize(
    "changed",
    [
        {"pay_timeout": 3600.0, "record_retention": 3600.0},
        {"transaction_deadline": 7200.0, "record_retention": 3600.0},
        {"sweep_interval": 3000.0, "sweep_grace": 600.0, "record_retention": 3600.0},
    ],
)
def test_records_outlive_what_asks_for_them(changed: dict[str, float]) -> None:
    """A record that is purged before the timeout of its order asks for it would leave that undecided for ever."""
    with pytest.raises(ValidationError, match=r"ORDERS_RECORD_RETENTION=3600[.]0 must be more than"):
        Settings.model_validate(GOOD | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"pay_timeout": 3600.0, "idempotency_retention": 3600.0},
        {"transaction_deadline": 7200.0, "idempotency_retention": 3600.0},
    ],
)
def test_keys_outlive_their_orders(changed: dict[str, float]) -> None:
    """A key that is purged while its order may still be paid would let a retry make a second one."""
    with pytest.raises(ValidationError, match="idempotency_retention"):
        Settings.model_validate(GOOD | changed)


def test_released_reservations_outlive_what_may_name_them() -> None:
    """Half messages are decided while records are kept, and delivered while messages are."""
    settings = Settings.model_validate(GOOD | {"record_retention": 1000.0, "message_retention": 50.0})
    assert settings.released_retention == 2050.0


def test_the_secret_does_not_show() -> None:
    """Settings may be printed."""
    assert "s" * 32 not in repr(Settings.model_validate(GOOD))


EMBEDDED = {"broker_url": "embedded:///b"}
PRODUCTION = {"environment": "production", "jwt_secret": "kX3v9Qm2Lr8Tz5Wn7Yb4Hd6Pf1Gj0ScV"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"retry_first_after": 5.0, "retry_longest": 1.0}, "ORDERS_RETRY_FIRST_AFTER=5.0 is more than ORDERS_RETRY_LO"),
        ({"poll_first_after": 5.0, "poll_longest": 1.0}, "ORDERS_POLL_FIRST_AFTER=5.0 is more than ORDERS_POLL_LONG"),
        ({"refund_first_after": 5.0, "refund_longest": 1.0}, "ORDERS_REFUND_FIRST_AFTER=5.0 is more than ORDERS_REF"),
        ({"broker_url": "rocketmq://h:1", "pay_timeout": 90000.0}, "ORDERS_PAY_TIMEOUT=90000.0 is more than 86400"),
        ({"placing_queue": 8, "placing_queue_per_user": 9}, "ORDERS_PLACING_QUEUE_PER_USER=9 is more than ORDERS_PLAC"),
        ({"rate_limit": "10/sec"}, "ORDERS_RATE_LIMIT=10/sec is not one limit: a number from 1, a slash, second"),
        ({"rate_limit": "10/second;100/minute"}, "ORDERS_RATE_LIMIT=10/second;100/minute is not one limit"),
        ({"rate_limit": "0/second"}, "ORDERS_RATE_LIMIT=0/second is not one limit"),
        ({"rate_limit": "1/0 second"}, "ORDERS_RATE_LIMIT=1/0 second is not one limit"),
        ({"rate_limit": ""}, "ORDERS_RATE_LIMIT= is not one limit"),
        ({"participants": "coupon"}, "ORDERS_PARTICIPANTS=coupon must name stock"),
        ({"participants": "stock,stock"}, "ORDERS_PARTICIPANTS=stock,stock must name stock"),
        ({"participants": "stock,gift"}, "ORDERS_PARTICIPANTS=stock,gift must name stock"),
        ({"coupon_url": "coupon:8004"}, "ORDERS_COUPON_URL has an instance that is no http://host:port"),
        ({"stock_url": "stock:8002"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"goods_url": "http://a:1,http://"}, "ORDERS_GOODS_URL has an instance that is no http://host:port"),
        ({"order_url": ""}, "ORDERS_ORDER_URL has an instance that is no http://host:port"),
        ({"database_url": "postgresql://h/d"}, "ORDERS_DATABASE_URL must begin with one of sqlite://, mysql+pymysql"),
        ({"broker_url": "kafka://h:1"}, "ORDERS_BROKER_URL must begin with one of embedded://, rocketmq://, rocketmq4"),
        ({"redis_url": "127.0.0.1:6379"}, "ORDERS_REDIS_URL must begin with one of redis://"),
        ({"stock_url": "http://a:1/stock"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://u:hush@a:1"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://a:1?x=1"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://a:1#x"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://a:port"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://a:99999"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        ({"stock_url": "http://a:0"}, "ORDERS_STOCK_URL has an instance that is no http://host:port"),
        (
            {"callback_base": "pay.example"},
            "ORDERS_CALLBACK_BASE is no http:// or https:// URL of a host, without user",
        ),
        ({"callback_base": "https://u:hush@a"}, "ORDERS_CALLBACK_BASE is no http:// or https:// URL of a host"),
        ({"callback_base": "https://a?x=1"}, "ORDERS_CALLBACK_BASE is no http:// or https:// URL of a host"),
        ({"return_to": "javascript:alert(1)"}, "ORDERS_RETURN_TO is no http:// or https:// URL of a host"),
        ({"stripe_api": "http://a:port"}, "ORDERS_STRIPE_API is no http:// or https:// URL of a host"),
        ({"wechat_api": "https://"}, "ORDERS_WECHAT_API is no http:// or https:// URL of a host"),
        (
            {"stock_url": "http://a:1,http://b:2", "goods_url": "http://c:3, http://b:2/"},
            "ORDERS_STOCK_URL and ORDERS_GOODS_URL both name b:2",
        ),
        ({"order_url": "http://a", "goods_url": "http://a:80"}, "ORDERS_ORDER_URL and ORDERS_GOODS_URL both name a:80"),
        ({"port": 0, "workers": 2, "database_url": "sqlite:///f"}, "ORDERS_PORT=0 and ORDERS_WORKERS=2: each process"),
        (
            {"port": 0, "share_port": True, "database_url": "sqlite:///f"},
            "ORDERS_PORT=0 and ORDERS_SHARE_PORT=True",
        ),
        ({"workers": 2}, "ORDERS_DATABASE_URL is in memory and ORDERS_WORKERS=2: each process would have a database"),
        (
            EMBEDDED | {"check_first_after": 0.5, "check_interval": 2.0, "check_max": 3},
            "ORDERS_TRANSACTION_DEADLINE=5.0 is more than 4.5, the age at the last check-back by ORDERS_CHECK_FIRST_AF",
        ),
        (EMBEDDED | {"message_retention": 5.0}, "ORDERS_MESSAGE_RETENTION=5.0 must be more than ORDERS_TRANSACTION_D"),
        ({"stock_strategy": "redis-lock"}, "ORDERS_STOCK_STRATEGY=redis-lock needs ORDERS_REDIS_URL"),
        (PRODUCTION | {"stock_strategy": "naive"}, "ORDERS_STOCK_STRATEGY=naive oversells"),
        (PRODUCTION | {"failpoints": "a=raise"}, "ORDERS_FAILPOINTS is set"),
        (PRODUCTION | {"console_drills": True, "console_data_dir": "/d"}, "ORDERS_CONSOLE_DRILLS is set"),
        (PRODUCTION | {"providers": "stripe, sandbox"}, "ORDERS_PROVIDERS=stripe, sandbox, and ORDERS_ENV"),
        (PRODUCTION | {"jwt_secret": "s" * 32}, "ORDERS_JWT_SECRET can be guessed"),
        (PRODUCTION | {"jwt_secret": "change-me-0123456789-abcdefghijkl"}, "ORDERS_JWT_SECRET can be guessed"),
        (PRODUCTION | {"peer_timeout": 6.0}, "ORDERS_PEER_TIMEOUT=6.0 is more than ORDERS_TRANSACTION_DEADLINE=5.0"),
        (PRODUCTION | {"last_question": 6.0}, "ORDERS_LAST_QUESTION=6.0 is more than ORDERS_INVISIBLE_FOR=5.0"),
        (PRODUCTION | {"transaction_deadline": 40.0}, "ORDERS_TRANSACTION_DEADLINE=40.0 is more than ORDERS_SWEEP_GRA"),
        ({"request_queue": 8, "request_queue_per_user": 9}, "ORDERS_REQUEST_QUEUE_PER_USER=9 is more than ORDERS_REQ"),
        (
            {"request_expires": 3600.0, "idempotency_retention": 3600.0},
            "ORDERS_IDEMPOTENCY_RETENTION=3600.0 must be more than ORDERS_REQUEST_EXPIRES=3600.0",
        ),
        (
            EMBEDDED | {"message_retention": 600.0},
            "ORDERS_MESSAGE_RETENTION=600.0 must be more than ORDERS_REQUEST_EXPIRES=600.0",
        ),
        ({"request_expires": 5.0}, "ORDERS_REQUEST_EXPIRES=5.0 must be more than ORDERS_TRANSACTION_DEADLINE=5.0"),
        ({"threads": 8, "request_streams": 8}, "ORDERS_REQUEST_STREAMS=8 must be less than ORDERS_THREADS=8"),
        ({"placing_queue": 1001}, "ORDERS_PLACING_QUEUE=1001: Input should be less than or equal to 1000"),
        ({"port": "x"}, "ORDERS_PORT=x: Input should be a valid integer"),
        ({"record_retention": 1e30}, "ORDERS_RECORD_RETENTION=1e+30 is more than 3.16224e+08, ten years"),
        ({"refresh_token_lifetime": float("inf")}, "ORDERS_REFRESH_TOKEN_LIFETIME=inf is more than 3.16224e+08"),
        ({"provider_timeout": 5.0}, "ORDERS_PROVIDER_TIMEOUT=5.0: Input should be less than or equal to 4"),
        ({"proxies": 1, "proxy_networks": " , "}, "ORDERS_PROXIES=1 and ORDERS_PROXY_NETWORKS= , : no proxy would"),
        (
            {"flash_queue_rate": 200, "flash_sale_rate_limit": "6000/minute"},
            "ORDERS_FLASH_QUEUE_RATE=200 is more than ORDERS_FLASH_SALE_RATE_LIMIT=6000/minute: buyers would be",
        ),
        (
            {"operator_tokens": "none"},
            "ORDERS_OPERATOR_TOKENS=none needs ORDERS_PUBLIC_KEYS: a token that is signed by the secret",
        ),
    ],
)
def test_what_contradicts_itself_is_told_in_one_line(changed: dict[str, Any], told: str) -> None:
    """With the variable, its value and what is right."""
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(GOOD | changed)
    lines = explain(raised.value)
    assert len(lines) == 1
    assert lines[0].startswith(told)


@pytest.mark.parametrize(
    "changed",
    [
        PRODUCTION,
        PRODUCTION | {"providers": "sandbox,"},
        PRODUCTION | {"providers": "stripe,wechat"},
        {"providers": "sandbox,stripe"},
        {"rate_limit": "5/2 second"},
        {"flash_queue_rate": 100, "flash_sale_rate_limit": "6000/minute"},
        {"rate_limit": "10 per minute"},
        {"stock_url": "http://a:1, https://b:2/"},
        {"stock_url": "http://a", "goods_url": "https://a"},
        {"callback_base": "https://pay.example/shop", "return_to": "https://shop.example/thanks?from=pay#top"},
        {"workers": 2, "database_url": "sqlite:///f"},
        {"broker_url": "rocketmq://h:1", "check_max": 1, "check_first_after": 1.0},
        EMBEDDED | {"check_first_after": 1.0, "check_interval": 2.0, "check_max": 3},
    ],
)
def test_what_agrees_is_taken(changed: dict[str, Any]) -> None:
    """Also what is written in another way that is honoured."""
    Settings.model_validate(GOOD | changed)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"port": 8002}, "ORDERS_PORT=8002 is where ORDERS_STOCK_URL is: order would call itself"),
        ({"port": 8003}, "ORDERS_PORT=8003 is where ORDERS_GOODS_URL is: order would call itself"),
        ({"max_body": 8191}, "ORDERS_MAX_BODY=8191 is less than 8192: an order that may be placed"),
    ],
)
def test_what_contradicts_itself_for_one_service_alone(changed: dict[str, Any], told: str) -> None:
    """Others may be where order calls them, and take bodies as short as they like."""
    settings = Settings.model_validate(GOOD | changed)
    assert [line[: len(told)] for line in faults_of("order", settings)] == [told]
    assert faults_of("stock", settings) == faults_of("goods", settings) == []
    assert faults_of("order", Settings.model_validate(GOOD)) == []


def test_reports_of_drills_need_a_place_at_the_console_alone() -> None:
    """An operator may allow drills in a shell from which all services are started."""
    settings = Settings.model_validate(GOOD | {"console_drills": True})
    assert faults_of("console", settings) == [
        "ORDERS_CONSOLE_DRILLS needs ORDERS_CONSOLE_DATA_DIR, where their reports are kept"
    ]
    assert faults_of("order", settings) == []


def test_the_longest_order_is_taken_by_the_smallest_body_limit() -> None:
    """However it is escaped."""
    line = {"goods_id": str(2**63 - 1), "quantity": 999}
    receiver = {name: "\U0001f600" * most for name, most in (("name", 64), ("phone", 32), ("address", 255))}
    longest = json.dumps({"items": [line] * 50, "receiver": receiver})
    assert len(longest) <= 8192
    assert faults_of("order", Settings.model_validate(GOOD | {"max_body": 8192})) == []


def test_every_fault_is_told() -> None:
    """One line for each, so that they are mended at once."""
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(GOOD | {"rate_limit": "10/sec", "retry_longest": 0.5, "order_url": "x"})
    assert [line.split("=")[0].split(" ")[0] for line in explain(raised.value)] == [
        "ORDERS_RETRY_FIRST_AFTER",
        "ORDERS_RATE_LIMIT",
        "ORDERS_ORDER_URL",
    ]


@pytest.mark.parametrize(
    "secret",
    [
        *({"jwt_secret": "short-hush"}, {"database_url": "mysql://u:hush@h/d"}),
        *(
            {"trace": url}
            for url in (
                *("otlp+https://key:hush@collector:4318", "https://u:hush#x@h:1", "https://u:1/hush@h:1"),
                *("https://u:1?hush@h:1", "https://u:1#hush", "zipkin+http://u:pass@h:hush", "http://[hush"),
            )
        ),
    ],
)
def test_what_is_secret_is_not_told(secret: dict[str, str]) -> None:
    """A fault names the variable alone where its value may hold a password."""
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(GOOD | secret)
    assert "hush" not in "".join(explain(raised.value))


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
def test_no_duration_is_without_an_end(name: str) -> None:
    """What is taken as a number and is no time would fail later: with the first row, or the first wait."""
    with pytest.raises(ValidationError):
        Settings.model_validate(GOOD | {name: float("inf")})


def test_no_call_of_a_provider_outlasts_what_waits_for_it() -> None:
    """An answer that comes after the claim's calls are over would be thrown away each time; some take two calls."""
    assert 2 * LONGEST_CALL < CALLS_WITHIN


def test_a_users_share_of_the_queue() -> None:
    """A quarter, unless told; never nothing."""
    assert Settings.model_validate(GOOD).queue_share == 96
    assert Settings.model_validate(GOOD | {"placing_queue": 1}).queue_share == 1
    assert Settings.model_validate(GOOD | {"placing_queue_per_user": 7}).queue_share == 7


def test_a_password_a_core_is_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the process may use, unless a number is set; one where the kernel does not say."""
    for cores, expected in ((3, 3), (0, 1), (100, MOST_HASHES)):
        monkeypatch.setattr("common.config.at_hand", lambda cores=cores: list(range(cores)))
        assert Settings.model_validate(GOOD).hashers == expected
    assert Settings.model_validate(GOOD | {"hashes_at_once": 5}).hashers == 5


def test_stock_takes_whatever_an_order_process_may_send() -> None:
    """The largest batch that can be set, of lines at their longest, and the largest settlement and look-up."""
    largest, most = 2**63 - 1, Settings.model_fields["placing_queue"].metadata
    assert any(getattr(bound, "le", None) == MAX_ORDERS for bound in most)
    line = {"goods_id": str(largest), "quantity": 10**6}
    orders = [{"order_id": str(largest), "items": [line] * (LINES // MAX_ORDERS)}] * MAX_ORDERS
    assert len(orjson.dumps({"tx_id": str(largest), "orders": orders})) <= LONGEST_BODY
    fates = [{"order_id": str(largest), "tx_id": str(largest), "fate": "stands"}] * MAX_ORDERS
    assert len(orjson.dumps({"orders": fates})) <= LONGEST_BODY
    assert len(orjson.dumps({"goods_ids": [str(largest)] * 200})) <= LONGEST
