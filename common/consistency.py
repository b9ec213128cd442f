"""Settings that contradict each other, or that nothing could honour: told at start, not when the first order fails."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from limits import parse_many

if TYPE_CHECKING:
    from common.config import Settings

LONGEST_TIMER: Final = 24 * 3600.0  # seconds that RocketMQ's proxy keeps a message, as it comes: `maxDelayTimeMills`
_KNOWN_SECRETS: Final = ("change", "secret", "example", "password", "development")
_DATABASES: Final = ("sqlite", "mysql+pymysql", "mariadb+pymysql")
_BROKERS: Final = ("embedded", "rocketmq", "rocketmq4")
_CACHES: Final = ("redis", "rediss", "unix")

Faults = Iterator[str]


def _named(settings: "Settings", *names: str) -> list[str]:
    return [f"ORDERS_{name.upper()}={getattr(settings, name)}" for name in names]


def _ordered(settings: "Settings", less: str, more: str, why: str) -> Faults:
    if getattr(settings, less) > getattr(settings, more):
        first, second = _named(settings, less, more)
        yield f"{first} is more than {second}: {why}"


def _times(settings: "Settings") -> Faults:
    """Durations that wait for each other."""
    yield from _ordered(settings, "retry_first_after", "retry_longest", "the first retry comes no later than any other")
    longest = max(settings.pay_timeout, settings.transaction_deadline, settings.sweep_interval + settings.sweep_grace)
    if settings.record_retention <= longest:
        (given,) = _named(settings, "record_retention")
        yield f"{given} must be more than {longest:g}: records outlive ORDERS_PAY_TIMEOUT and what else asks for them"
    if settings.broker_url.startswith("rocketmq") and settings.pay_timeout > LONGEST_TIMER:
        (given,) = _named(settings, "pay_timeout")
        yield f"{given} is more than {LONGEST_TIMER:g}: RocketMQ keeps no timeout message for longer"


def _sizes(settings: "Settings") -> Faults:
    """Numbers of things that hold each other."""
    yield from _ordered(
        settings, "placing_queue_per_user", "placing_queue", "a user's share is a part of the whole queue"
    )


def _rate_limit(settings: "Settings") -> Faults:
    try:
        parsed = parse_many(settings.rate_limit)
    except ValueError:
        parsed = []
    if len(parsed) != 1 or parsed[0].amount < 1 or ";" in settings.rate_limit or "/0 " in settings.rate_limit:
        (given,) = _named(settings, "rate_limit")
        yield f"{given} is not one limit: a number from 1, a slash, second, minute, hour or day, as in 10/second"


def _urls(settings: "Settings") -> Faults:
    """Where others are; what a URL holds beside its scheme may be a password, and is not told."""
    for name in ("order_url", "stock_url", "goods_url"):
        for url in getattr(settings, name).split(","):
            if urlsplit(url.strip()).scheme not in {"http", "https"} or not urlsplit(url.strip()).hostname:
                yield f"ORDERS_{name.upper()} has an instance that is no http://host:port"
    for name, schemes in (("database_url", _DATABASES), ("broker_url", _BROKERS), ("redis_url", _CACHES)):
        scheme, separator, _ = getattr(settings, name).partition("://")
        if getattr(settings, name) and (not separator or scheme not in schemes):
            yield f"ORDERS_{name.upper()} must begin with one of {', '.join(f'{known}://' for known in schemes)}"


def _parts(settings: "Settings") -> Faults:
    if settings.stock_strategy == "redis-lock" and not settings.redis_url:
        yield f"{_named(settings, 'stock_strategy')[0]} needs ORDERS_REDIS_URL"


def _production(settings: "Settings") -> Faults:
    """Refuse in production what is good for trying alone, and times that leave no margin."""
    if settings.environment != "production":
        return
    yield from _ordered(
        settings, "peer_timeout", "transaction_deadline", "a deduction must end before its order is given up"
    )
    yield from _ordered(
        settings, "transaction_deadline", "sweep_grace", "the sweep must not touch what may still be under way"
    )
    if settings.stock_strategy == "naive":
        yield "ORDERS_STOCK_STRATEGY=naive oversells, and ORDERS_ENVIRONMENT=production: choose another"
    if settings.failpoints:
        yield "ORDERS_FAILPOINTS is set, and ORDERS_ENVIRONMENT=production: unset it"
    secret = settings.jwt_secret.get_secret_value()
    if len(set(secret)) < 8 or any(word in secret.lower() for word in _KNOWN_SECRETS):  # noqa: PLR2004
        yield "ORDERS_JWT_SECRET can be guessed, and ORDERS_ENVIRONMENT=production: take 32 random bytes or more"


_RULES: Final[Sequence[Callable[["Settings"], Faults]]] = (_times, _sizes, _rate_limit, _urls, _parts, _production)


def faults(settings: "Settings") -> list[str]:
    """Return what is wrong with settings each of which may be right alone: one line for each fault."""
    return [fault for rule in _RULES for fault in rule(settings)]
