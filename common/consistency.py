"""Settings that contradict each other, or that nothing could honour: told at start, not when the first order fails."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult

from limits import parse_many

from common import registry
from common.urls import has_host, is_instance, split

if TYPE_CHECKING:
    from common.config import Settings

LONGEST: Final = 10 * 366 * 24 * 3600.0
"""Seconds of any duration. Longer ones, `inf` too, pass as numbers, and are no time that a row or a clock can hold."""
LONGEST_TIMER: Final = 24 * 3600.0  # seconds that RocketMQ's proxy keeps a message, as it comes: `maxDelayTimeMills`
_KNOWN_SECRETS: Final = ("change", "secret", "example", "password", "development")
_DATABASES: Final = ("sqlite", "mysql+pymysql", "mariadb+pymysql")
_BROKERS: Final = ("embedded", "rocketmq", "rocketmq4")
_CACHES: Final = ("redis", "rediss", "unix")
_STORES: Final = ("redis", "rediss")
_PEERS: Final = tuple(f"{name}_url" for name in registry.NAMES)
_OUTSIDE: Final = ("callback_base", "public_base", "return_to", "stripe_api", "wechat_api")
_CALLS: Final = {
    "order": tuple(peer for peer in _PEERS if peer != "order_url"),
    "flash": ("order_url", "stock_url", "goods_url"),
}
"""By service: where those are that it calls."""
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 # nosec B104 - it is compared
_RATES: Final = (
    "rate_limit",
    "flash_rate_limit",
    "flash_sale_rate_limit",
    "registration_rate",
    "log_in_rate",
    "log_in_rate_of_name",
)
_LONGEST_ORDER: Final = 8 * 1024  # bytes: 50 lines, and a receiver each character of whom takes twelve

Faults = Iterator[str]


def _named(settings: "Settings", *names: str) -> list[str]:
    return [f"ORDERS_{name.upper()}={getattr(settings, name)}" for name in names]


def _ordered(settings: "Settings", less: str, more: str, why: str) -> Faults:
    if getattr(settings, less) > getattr(settings, more):
        first, second = _named(settings, less, more)
        yield f"{first} is more than {second}: {why}"


def _finite(settings: "Settings") -> Faults:
    """Durations that there can be."""
    for name, field in type(settings).model_fields.items():
        if field.annotation is float and getattr(settings, name) > LONGEST:
            (told,) = _named(settings, name)
            yield f"{told} is more than {LONGEST:g}, ten years: no time of ours is so far away"


def _times(settings: "Settings") -> Faults:
    """Durations that wait for each other."""
    for what in ("retry", "poll", "refund"):
        yield from _ordered(
            settings, f"{what}_first_after", f"{what}_longest", "the first one comes no later than any other"
        )
    longest = max(settings.pay_timeout, settings.transaction_deadline, settings.sweep_interval + settings.sweep_grace)
    if settings.record_retention <= longest:
        (given,) = _named(settings, "record_retention")
        yield f"{given} must be more than {longest:g}: records outlive ORDERS_PAY_TIMEOUT and what else asks for them"
    if settings.broker_url.startswith("rocketmq") and settings.pay_timeout > LONGEST_TIMER:
        (given,) = _named(settings, "pay_timeout")
        yield f"{given} is more than {LONGEST_TIMER:g}: RocketMQ keeps no timeout message for longer"
    if settings.broker_url.startswith("embedded"):
        yield from _embedded_times(settings)


def _embedded_times(settings: "Settings") -> Faults:
    """Durations that only the embedded broker knows; RocketMQ has them in settings of its own."""
    last_check = settings.check_first_after + (settings.check_max - 1) * settings.check_interval
    if last_check < settings.transaction_deadline:
        (given,) = _named(settings, "transaction_deadline")
        given_by = ", ".join(_named(settings, "check_first_after", "check_interval", "check_max"))
        yield f"{given} is more than {last_check:g}, the age at the last check-back by {given_by}: it would not decide"
    if settings.message_retention <= settings.transaction_deadline:
        (given,) = _named(settings, "message_retention")
        yield f"{given} must be more than ORDERS_TRANSACTION_DEADLINE: what is purged can't be looked at"


def _sizes(settings: "Settings") -> Faults:
    """Numbers of things that hold each other."""
    yield from _ordered(
        settings, "placing_queue_per_user", "placing_queue", "a user's share is a part of the whole queue"
    )


def _rate_limit(settings: "Settings") -> Faults:
    for name in _RATES:
        given = getattr(settings, name)
        try:
            parsed = parse_many(given)
        except ValueError:
            parsed = []
        if len(parsed) != 1 or parsed[0].amount < 1 or ";" in given or "/0 " in given:
            (told,) = _named(settings, name)
            yield f"{told} is not one limit: a number from 1, a slash, second, minute, hour or day, as in 10/second"
        elif name == "flash_sale_rate_limit" and settings.flash_queue_rate * parsed[0].get_expiry() > parsed[0].amount:
            turns, limit = _named(settings, "flash_queue_rate", name)
            yield f"{turns} is more than {limit}: buyers would be refused whose turn it is"


def _networks(settings: "Settings") -> Faults:
    try:
        settings.trusted_networks  # noqa: B018 - read to find out
    except ValueError:
        (told,) = _named(settings, "proxy_networks")
        yield f"{told} is not a list of networks such as 10.0.0.0/8, with commas between"
        return
    if settings.proxies and not settings.trusted_networks:
        given, told = _named(settings, "proxies", "proxy_networks")
        yield f"{given} and {told}: no proxy would be believed, and all who call would be one address"


def _processes(settings: "Settings") -> Faults:
    """Refuse what several processes on one port can't share."""
    if settings.workers == 1 and not settings.share_port:
        return
    (given,) = _named(settings, "workers" if settings.workers > 1 else "share_port")
    if settings.port == 0:
        yield f"ORDERS_PORT=0 and {given}: each process would listen on a port of its own"
    if settings.database_url in {"sqlite://", "sqlite:///:memory:"}:
        yield f"ORDERS_DATABASE_URL is in memory and {given}: each process would have a database of its own"


def _urls(settings: "Settings") -> Faults:
    """Where others are; what a URL holds beside its scheme may be a password, and is not told."""
    for name in _PEERS:
        if not all(map(is_instance, _instances(settings, name))):
            yield f"ORDERS_{name.upper()} has an instance that is no http://host:port"
    for name, other in combinations(_PEERS, 2):
        for where in _addresses(settings, name) & _addresses(settings, other):
            yield f"ORDERS_{name.upper()} and ORDERS_{other.upper()} both name {where[0]}:{where[1]}"
    for name, schemes in (
        ("database_url", _DATABASES),
        ("broker_url", _BROKERS),
        ("redis_url", _CACHES),
        ("pieces_url", _STORES),
    ):
        scheme, separator, _ = getattr(settings, name).partition("://")
        if getattr(settings, name) and (not separator or scheme not in schemes):
            yield f"ORDERS_{name.upper()} must begin with one of {', '.join(f'{known}://' for known in schemes)}"


def _outside(settings: "Settings") -> Faults:
    """Where providers and browsers are sent, and where providers are: what may be a password is never told."""
    for name in _OUTSIDE:
        url = split(given := getattr(settings, name))
        bare = not url.query and not url.fragment
        if given and not (has_host(url) and "@" not in url.netloc and (bare or name == "return_to")):
            yield f"ORDERS_{name.upper()} is no http:// or https:// URL of a host, without user and password"


def _tracing(settings: "Settings") -> Faults:
    """Where traces go, which may have a password: one that ends the host's part of the URL would be told as that."""
    url = split(settings.trace.removeprefix("zipkin+"))
    whole = "@" not in url.path + url.query and not url.fragment
    if settings.trace and not (has_host(url) and whole):
        yield "ORDERS_TRACE is no URL of a host; in a password, write / ? # @ and : as %2F %3F %23 %40 and %3A"


def _instances(settings: "Settings", name: str) -> list[SplitResult]:
    return [split(url.strip()) for url in getattr(settings, name).split(",")]


def _addresses(settings: "Settings", name: str) -> set[tuple[str, int]]:
    """Return the host and port of each instance that has them."""
    found = [url for url in _instances(settings, name) if is_instance(url)]
    return {(url.hostname or "", url.port or (443 if url.scheme == "https" else 80)) for url in found}


def _discovery(settings: "Settings") -> Faults:
    """Who is listed is called there by others."""
    if settings.discovery in {"", "static"}:
        return
    if settings.advertise:
        if not is_instance(split(settings.advertise)):
            yield f"{_named(settings, 'advertise')[0]} must be a base URL, such as http://10.0.0.7:8001"
    elif settings.host in _ANYWHERE:
        yield f"{_named(settings, 'host')[0]} is no address to be called at: set ORDERS_ADVERTISE to one"


def _parts(settings: "Settings") -> Faults:
    names = settings.participant_names
    if "stock" not in names or len(set(names)) < len(names) or not set(names) <= set(registry.PARTICIPANTS):
        (given,) = _named(settings, "participants")
        yield f"{given} must name stock, which every order needs, and may name: {', '.join(registry.PARTICIPANTS)}"
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
    yield from _ordered(
        settings, "last_question", "invisible_for", "timeouts would come again while providers are still asked"
    )
    if settings.stock_strategy == "naive":
        yield "ORDERS_STOCK_STRATEGY=naive oversells, and ORDERS_ENVIRONMENT=production: choose another"
    if settings.failpoints:
        yield "ORDERS_FAILPOINTS is set, and ORDERS_ENVIRONMENT=production: unset it"
    if len(providers := settings.provider_names) > 1 and registry.SANDBOX in providers:
        (given,) = _named(settings, "providers")
        yield f"{given}, and ORDERS_ENVIRONMENT=production: take the sandbox out, through it anybody pays without money"
    if settings.console_drills:
        yield "ORDERS_CONSOLE_DRILLS is set, and ORDERS_ENVIRONMENT=production: unset it, drills break things"
    secret = settings.jwt_secret.get_secret_value()
    if len(set(secret)) < 8 or any(word in secret.lower() for word in _KNOWN_SECRETS):  # noqa: PLR2004
        yield "ORDERS_JWT_SECRET can be guessed, and ORDERS_ENVIRONMENT=production: take 32 random bytes or more"


def _tokens(settings: "Settings") -> Faults:
    """Refuse what would leave services without tokens that others take."""
    if settings.public_keys is None and not settings.takes_hs256:
        (given,) = _named(settings, "hs256_tokens")
        yield f"{given} needs ORDERS_PUBLIC_KEYS: no service could tell another by its token"
    if settings.public_keys is None and settings.key_file is not None:
        yield "ORDERS_KEY_FILE needs ORDERS_PUBLIC_KEYS: other services would sign as this one does, and be refused"
    if settings.public_keys is None and settings.operator_tokens in {"admin", "none"}:
        (given,) = _named(settings, "operator_tokens")
        yield f"{given} needs ORDERS_PUBLIC_KEYS: a token that is signed by the secret may do all"


_RULES: Final[Sequence[Callable[["Settings"], Faults]]] = (
    *(_finite, _times, _sizes, _rate_limit, _networks),
    *(_processes, _urls, _discovery, _outside, _tracing, _parts, _tokens, _production),
)


def faults(settings: "Settings") -> list[str]:
    """Return what is wrong with settings each of which may be right alone: one line for each fault."""
    return [fault for rule in _RULES for fault in rule(settings)]


def faults_of_requests(settings: "Settings") -> Faults:
    """Yield what is wrong with the bounds of orders that are submitted now and placed soon, where all else is right."""
    yield from _ordered(
        settings, "request_queue_per_user", "request_queue", "a user's share is a part of the whole queue"
    )
    expires, streams = _named(settings, "request_expires", "request_streams")
    for name in (
        "idempotency_retention",
        *(["message_retention"] if settings.broker_url.startswith("embedded") else ()),
    ):
        if getattr(settings, name) <= settings.request_expires:
            (given,) = _named(settings, name)
            yield f"{given} must be more than {expires}: what belongs to a request is kept for as long as it may wait"
    if settings.request_expires <= settings.transaction_deadline:
        (given,) = _named(settings, "transaction_deadline")
        yield f"{expires} must be more than {given}: requests would expire before it is known that they were taken in"
    if settings.request_streams >= settings.threads and settings.request_streams:
        (given,) = _named(settings, "threads")
        yield f"{streams} must be less than {given}: each stream holds a thread, and the rest needs some"


def faults_of(service: str, settings: "Settings") -> list[str]:
    """Return what is wrong with settings that are right for other services: one line for each fault."""
    found = [
        f"ORDERS_PORT={settings.port} is where ORDERS_{name.upper()} is: {service} would call itself"
        for name in _CALLS.get(service, ())
        if (settings.host, settings.port) in _addresses(settings, name)
    ]
    if service == "console" and settings.console_drills and settings.console_data_dir is None:
        found.append("ORDERS_CONSOLE_DRILLS needs ORDERS_CONSOLE_DATA_DIR, where their reports are kept")
    if service in registry.CALLERS and settings.key_file is None and not settings.takes_hs256:
        found.append(f"ORDERS_KEY_FILE is needed: {service} calls other services, which take no token of a secret")
    if service == "order" and settings.max_body < _LONGEST_ORDER:
        (given,) = _named(settings, "max_body")
        found.append(f"{given} is less than {_LONGEST_ORDER}: an order that may be placed has up to so many bytes")
    return found
