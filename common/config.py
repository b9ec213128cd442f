"""Settings of one service process: read once from the environment (prefix ORDERS_), validated, passed down."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.mq.port import BrokerOptions


class Settings(BaseSettings):
    """Everything that may be set. Durations in seconds."""

    model_config = SettingsConfigDict(env_prefix="ORDERS_", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = "development"
    failpoints: str = ""

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

    jwt_secret: SecretStr = Field(min_length=32)
    database_url: str
    broker_url: str = ""
    redis_url: str = Field(default="", description="shares prices and rate limits among instances; empty: each its own")
    order_url: str = "http://127.0.0.1:8001"
    stock_url: str = "http://127.0.0.1:8002"
    goods_url: str = "http://127.0.0.1:8003"
    peer_timeout: float = Field(default=2.0, gt=0, description="for one call to another service, retries included")
    goods_cache: float = Field(default=0.5, ge=0, description="how long a price may be reused")

    placing_lanes: int = Field(default=1, ge=1, le=64, description="batches of orders placed at once")
    placing_batch: int = Field(default=512, ge=50, le=5000, description="lines of orders in one batch, at most")
    placing_queue: int = Field(
        default=384, ge=1, le=1024, description="orders being placed at once or waiting for it; more get 503"
    )

    stock_strategy: Literal["conditional", "pessimistic", "optimistic", "redis-lock", "naive"] = Field(
        default="conditional",
        description="how stock is taken, see docs/decisions/0013; naive oversells: never in production",
    )

    pay_timeout: float = Field(default=900.0, gt=0)
    transaction_deadline: float = Field(
        default=5.0, gt=0, description="a local transaction older than this is aborted by its check-back"
    )
    record_retention: float = Field(default=7 * 24 * 3600.0, gt=0)
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

    @model_validator(mode="after")
    def _records_outlive_what_asks_for_them(self) -> Self:
        """Refuse what would leave a late timeout undecided for ever, because its record was purged."""
        longest = max(self.pay_timeout, self.transaction_deadline, self.sweep_interval + self.sweep_grace)
        if self.record_retention <= longest:
            raise ValueError(f"record_retention must be longer than pay_timeout and what else asks: {longest:g} s")
        return self

    @property
    def pool_size(self) -> int:
        """Database connections: one a request thread, and some for consumers, the checker, sweeps and leases."""
        return self.threads + 8

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
