"""Settings of one service process: read once from the environment (prefix ORDERS_), validated, passed down."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator

from common import consistency, registry
from common.cores import at_hand
from common.discovery.port import LEAST_TTL, MOST_TTL
from common.discovery.settings import Addresses
from common.logfile import KEPT, LARGEST, LogFile
from halfmessage.mq.port import BrokerOptions

MOST_HASHES: Final = 64  # at once, of one process
LONGEST_TOKEN: Final = 3600.0  # seconds, of a user's token
MOST_TURNS: Final = 100_000  # of a flash sale's queue in a second
LONGEST_CALL: Final = 4.0  # seconds, of a provider: pay waits 10 s for two in a row, and writes down no later answer


class Settings(Addresses):
    """Everything that may be set, with the address of each service. Durations in seconds."""

    environment: Literal["development", "production"] = "development"
    failpoints: str = ""

    discovery_ttl: int = Field(
        default=5, ge=LEAST_TTL, le=MOST_TTL, description="an instance that ended without a word is listed for so long"
    )
    advertise: str = Field(default="", description="the base URL at which others reach this process; empty: its own")

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64, description="processes that serve the port; see docs/scale.md")
    core: int | None = Field(default=None, ge=0, description="the processor core that the process keeps to")
    share_port: bool = Field(default=False, description="other processes of ours listen on the port as well")
    threads: int = Field(
        default=64, ge=1, le=1024, description="requests worked on at once, beside orders being placed"
    )
    max_connections: int = Field(default=8192, ge=1, description="idle ones too; further ones wait until others leave")
    max_body: int = Field(default=64 * 1024, ge=1024, description="bytes")
    body_timeout: float = Field(
        default=10.0, gt=0, description="for a body to arrive; 2 while half of the threads read slow ones"
    )
    rate_limit: str = Field(default="10000/second", description="orders placed per user, in the words of Flask-Limiter")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_file: Path | None = Field(default=None, description="where all output goes; none: standard error as it is")
    log_max_bytes: int = Field(default=LARGEST, ge=64 * 1024, description="of log_file, which is then rotated")
    log_kept: int = Field(default=KEPT, ge=1, le=1000, description="old files beside log_file")

    trace: str = Field(
        default="",
        pattern=r"^((zipkin\+)?https?://[^/\s]+\S*)?$",
        repr=False,
        description="where traces go: http://… of an OTLP collector, or zipkin+http://…; empty: nothing is traced",
    )
    trace_sample: float = Field(default=1.0, ge=0, le=1, description="the share of traces that are sent")
    trace_queue: int = Field(
        default=4096, ge=1, le=100_000, description="spans that wait to be sent; then the oldest are lost"
    )
    trace_wait: float = Field(default=2.0, gt=0, le=30, description="for one call that sends spans")

    jwt_secret: SecretStr = Field(min_length=32)
    hs256_tokens: bool | None = Field(
        default=None,
        description="tokens of jwt_secret, which any service can make, are taken; unset: where no public_keys are",
    )
    public_keys: Path | None = Field(
        default=None, description="the public keys of services, operator and Prometheus, as `orders keys` makes them"
    )
    user_keys_file: Path | None = Field(
        default=None, description="keeps the public keys of user for a start while user is down; none: nothing does"
    )
    key_file: Path | None = Field(
        default=None, description="the private key of this service, for its calls of others; of those that make any"
    )
    operator_tokens: Literal["", "all", "admin", "none"] = Field(
        default="",
        description="what tokens of the operator's key may do; all: also act as any user, and as a service. "
        "Unset: all in development, admin in production",
    )
    database_url: str = Field(repr=False)
    broker_url: str = Field(default="", repr=False)
    redis_url: str = Field(
        default="", repr=False, description="shares prices and rate limits among instances; empty: each its own"
    )
    participants: str = Field(
        default=",".join(registry.PARTICIPANTS),
        description="services that hold something for orders in this deployment, with commas between",
    )
    peer_timeout: float = Field(default=2.0, gt=0, description="for one call to another service, retries included")
    goods_cache: float = Field(default=0.5, ge=0, description="how long a price, or a coupon's rules, may be reused")

    placing_lanes: int = Field(default=1, ge=1, le=64, description="batches of orders placed at once")
    placing_batch: int = Field(default=512, ge=50, le=5000, description="lines of orders in one batch, at most")
    placing_queue: int = Field(
        default=384, ge=1, le=1000, description="orders being placed at once or waiting for it; more get 503"
    )
    placing_queue_per_user: int = Field(
        default=0, ge=0, description="of them one user's; more of that user get 429; 0: a quarter of the queue"
    )

    request_threads: int = Field(default=64, ge=1, le=256, description="order requests placed at once")
    request_queue: int = Field(
        default=100_000, ge=1, le=1_000_000, description="order requests taken in and not decided; more get 503"
    )
    request_queue_per_user: int = Field(
        default=1000, ge=1, description="of them one user's; more of that user get 429, so that others need not wait"
    )
    request_expires: float = Field(
        default=600.0, gt=0, description="an order request that is not placed by then is refused"
    )
    request_streams: int = Field(
        default=0, ge=0, description="order requests told as they change (SSE) at once; 0: a quarter of the threads"
    )
    request_stream_lasts: float = Field(
        default=30.0, gt=0, le=300, description="of such a stream, which holds a thread; a client then asks again"
    )

    pieces_url: str = Field(
        default="",
        repr=False,
        description="what counts the pieces of flash sales: redis://…; empty: the flash service's own database",
    )
    flash_rate_limit: str = Field(
        default="20/second", description="tries of one user to buy in flash sales, in the words of Flask-Limiter"
    )
    flash_sale_rate_limit: str = Field(
        default="20000/second", description="tries of all users to buy in one flash sale, in the words of Flask-Limiter"
    )
    flash_queue_rate: int = Field(
        default=0,
        ge=0,
        le=MOST_TURNS,
        description="buyers admitted a second to a sale that does not say, by queue ticket; 0: none is needed",
    )
    buying_queue: int = Field(
        default=1000, ge=1, le=4000, description="tries to buy or to queue at once, or waiting for it; more get 503"
    )

    providers: str = Field(
        default="sandbox",
        description="who takes money, with commas between: sandbox (for trying only: in production beside no other), "
        "stripe, wechat, or package.module:Class",
    )
    last_question: float = Field(
        default=2.0,
        ge=0,
        le=30,
        description="for asking providers before an unpaid order is closed; 0: it is not asked",
    )
    poll_first_after: float = Field(default=5.0, gt=0, description="a provider that said nothing is asked")
    poll_longest: float = Field(default=600.0, gt=0, description="the longest distance between two such questions")
    poll_until: float = Field(default=72 * 3600.0, gt=0, description="after a payment was closed, it is asked no more")
    polls_per_second: float = Field(default=20.0, gt=0, le=1000, description="of one process, all providers together")
    refund_first_after: float = Field(default=1.0, gt=0, description="a refund that failed is tried again")
    refund_longest: float = Field(default=600.0, gt=0, description="the longest distance between two such tries")
    callback_tolerance: float = Field(default=300.0, gt=0, description="how old a callback's signature may be")
    callback_base: str = Field(
        default="", description="where providers reach pay, such as https://pay.example; empty: its first instance"
    )
    return_to: str = Field(
        default="", description="where a customer's browser goes after a provider's own page; empty: callback_base"
    )
    provider_timeout: float = Field(
        default=LONGEST_CALL,
        gt=0,
        le=LONGEST_CALL,
        description="for one call to Stripe or WeChat Pay; what is answered later is not waited for",
    )
    stripe_secret_key: SecretStr = SecretStr("")
    stripe_webhook_secret: SecretStr = SecretStr("")
    stripe_api: str = Field(default="", description="where Stripe's API is, in tests; empty: at Stripe")
    wechat_app_id: str = ""
    wechat_merchant_id: str = ""
    wechat_certificate_serial: str = Field(default="", description="of the merchant's own certificate")
    wechat_private_key_file: Path | None = Field(default=None, description="of that certificate, PEM")
    wechat_api_secret: SecretStr = Field(default=SecretStr(""), description="the APIv3 key")
    wechat_public_key_file: Path | None = Field(default=None, description="WeChat Pay's public key, PEM")
    wechat_public_key_id: str = Field(default="", description="PUB_KEY_ID_…, as WeChat Pay shows it")
    wechat_certificates: Path | None = Field(
        default=None, description="a folder for WeChat Pay's platform certificates, where there is no public key"
    )
    wechat_api: str = Field(default="", description="where WeChat Pay's API is, in tests; empty: at WeChat Pay")

    access_token_lifetime: float = Field(
        default=900.0, ge=60, le=LONGEST_TOKEN, description="of a user's token: nothing ends it before"
    )
    refresh_token_lifetime: float = Field(
        default=30 * 24 * 3600.0, ge=3600, description="of a log-in, however often it is refreshed"
    )
    registration_rate: str = Field(default="60/minute", description="new users by one address")
    log_in_rate: str = Field(default="100/minute", description="log-ins and refreshes by one address")
    log_in_rate_of_name: str = Field(
        default="30/minute", description="log-ins under one name, from each address it logged in from, and all others"
    )
    proxies: int = Field(
        default=0, ge=0, le=8, description="of ours in front, each of which adds whom it answers to X-Forwarded-For"
    )
    proxy_networks: str = Field(
        default="127.0.0.0/8,::1/128",
        description="where those proxies are, with commas between; others are not believed",
    )
    public_base: str = Field(default="", description="where people reach the gateway; empty: there is none")
    hashes_at_once: int = Field(
        default=0,
        ge=0,
        le=MOST_HASHES,
        description="passwords hashed at once, each with 19 MiB and a core; 0: one a core",
    )
    hashes_waiting: int = Field(default=32, ge=0, le=1000, description="passwords that wait for that; more get 503")
    breached_passwords: Path | None = Field(
        default=None, description="SHA-1 hashes of known passwords, sorted, one a line, as Pwned Passwords has them"
    )
    log_ins_kept: float = Field(default=90 * 24 * 3600.0, gt=0, description="for so long it is kept who logged in")

    stock_strategy: Literal["conditional", "pessimistic", "optimistic", "redis-lock", "naive"] = Field(
        default="conditional",
        description="how stock is taken, see docs/decisions/0013; naive oversells: never in production",
    )

    pay_timeout: float = Field(default=900.0, gt=0)
    return_within: float = Field(
        default=7 * 24 * 3600.0, ge=0, description="after it was paid, an order may be returned for so long"
    )
    transaction_deadline: float = Field(
        default=5.0, gt=0, description="a local transaction older than this is aborted by its check-back"
    )
    record_retention: float = Field(default=7 * 24 * 3600.0, gt=0)
    idempotency_retention: float = Field(
        default=7 * 24 * 3600.0, gt=0, description="for so long the same Idempotency-Key gets the first answer"
    )
    sweep_interval: float = Field(default=60.0, gt=0)
    sweep_grace: float = Field(default=30.0, gt=0)

    check_first_after: float = Field(default=5.0, gt=0)
    check_interval: float = Field(default=5.0, gt=0)
    check_max: int = Field(default=15, ge=1)
    invisible_for: float = Field(default=5.0, gt=0)
    retry_first_after: float = Field(default=1.0, gt=0)
    retry_longest: float = Field(default=600.0, gt=0)
    max_deliveries: int = Field(default=16, ge=1)
    message_retention: float = Field(default=72 * 3600.0, gt=0)

    console_data_dir: Path | None = Field(
        default=None,
        description="the deployment's data directory, where the console compares all books; none: it can't",
    )
    console_drills: bool = Field(
        default=False,
        description="administrators may break deployments of drills' own through the console; never in production",
    )
    console_actions_kept: float = Field(
        default=90 * 24 * 3600.0, gt=0, description="for so long the console keeps who did what through it, and why"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse settings that contradict each other."""
        found = consistency.faults(self)
        if found:
            raise ValueError("\n".join(found))
        return self

    @model_validator(mode="after")
    def _keys_outlive_their_orders(self) -> Self:
        """Refuse what would make a second order for a key whose first may still be paid, or is not decided yet."""
        longest = max(self.pay_timeout, self.transaction_deadline)
        if self.idempotency_retention <= longest:
            raise ValueError(f"idempotency_retention must be longer than pay_timeout and the deadline: {longest:g} s")
        return self

    @model_validator(mode="after")
    def _requests_agree(self) -> Self:
        """Refuse bounds of order requests that contradict each other, or the rest."""
        found = list(consistency.faults_of_requests(self))
        if found:
            raise ValueError("\n".join(found))
        return self

    @property
    def takes_hs256(self) -> bool:
        """Whether tokens of the shared secret are taken: as set, else where there are no keys of our own."""
        return self.public_keys is None if self.hs256_tokens is None else self.hs256_tokens

    @property
    def operator_may(self) -> str:
        """What tokens of the operator's key may do: all, admin or none."""
        return self.operator_tokens or ("admin" if self.environment == "production" else "all")

    def url(self, service: str) -> str:
        """Return where the instances of a service are, with commas between."""
        return str(getattr(self, f"{service}_url"))

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks in `proxy_networks`. Raise `ValueError`."""
        return tuple(ip_network(one.strip()) for one in self.proxy_networks.split(",") if one.strip())

    @property
    def streams(self) -> int:
        """How many order requests are told as they change at once."""
        return self.request_streams or max(1, self.threads // 4)

    @property
    def released_retention(self) -> float:
        """For how many seconds participants keep what they have released: longer than anything may still name it.

        Half messages are decided while records are kept, and the rollbacks that they become are delivered for as long
        as the broker keeps them. Twice the former, as of records: clocks may differ, and decisions be late, by as much.
        """
        return 2 * self.record_retention + self.message_retention

    @property
    def participant_names(self) -> list[str]:
        """The names in `participants`, in their order."""
        return [name.strip() for name in self.participants.split(",")]

    @property
    def provider_names(self) -> list[str]:
        """The words of `providers`, in their order; none is a deployment that takes no money."""
        return [name.strip() for name in self.providers.split(",") if name.strip()]

    @property
    def callbacks_to(self) -> str:
        """The base URL under which providers reach pay."""
        return (self.callback_base or self.url("pay").split(",")[0].strip()).rstrip("/")

    @property
    def queue_share(self) -> int:
        """Places of the placing queue that one user may have."""
        return self.placing_queue_per_user or max(1, self.placing_queue // 4)

    @property
    def pool_size(self) -> int:
        """Database connections: one a request thread, and some for consumers, the checker, sweeps and leases."""
        return self.threads + 8

    @property
    def hashers(self) -> int:
        """How many passwords are hashed at once: as set, else one for each core that this process may use, 64 at most.

        To be asked once the process keeps to its core.
        """
        return self.hashes_at_once or min(MOST_HASHES, max(1, len(at_hand())))

    @property
    def log(self) -> LogFile | None:
        """Where all output goes; None: to standard error as it is."""
        if self.log_file is None:
            return None
        return LogFile(self.log_file, largest=self.log_max_bytes, kept=self.log_kept)

    @property
    def broker_options(self) -> BrokerOptions:
        """The broker's share of the settings."""
        return BrokerOptions(
            check_first_after=self.check_first_after,
            check_interval=self.check_interval,
            check_max=self.check_max,
            invisible_for=self.invisible_for,
            retry_first_after=self.retry_first_after,
            retry_longest=self.retry_longest,
            max_deliveries=self.max_deliveries,
            retention=self.message_retention,
        )


def explain(error: ValidationError) -> list[str]:
    """Return what is wrong with settings: one line for each fault, with the variable, its value and what is allowed.

    What may hold a password is not told: by its name, or as a field that no repr shows.
    """
    lines, hidden = [], {name for name, field in Settings.model_fields.items() if not field.repr}
    for fault in error.errors(include_url=False):
        name = "_".join(("ORDERS", *map(str, fault["loc"]))).upper()
        secret = any(word in name for word in ("SECRET", "URL")) or not hidden.isdisjoint(fault["loc"])
        given = "" if secret or fault["type"] == "missing" else f"={fault['input']}"
        message = fault["msg"].removeprefix("Value error, ")
        lines += [f"{name}{given}: {message}"] if fault["loc"] else message.splitlines()
    return lines
