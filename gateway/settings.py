"""Settings of the gateway: read once from the environment (prefix ORDERS_), validated, passed down."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from common import registry
from common.config import Settings as OfServices
from common.discovery.settings import Addresses

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_MOST_ORIGINS: Final = 32


class Settings(Addresses):
    """Everything that may be set, with the address of each service. Durations in seconds.

    Of a service with several instances `ORDERS_<NAME>_URL` names them all, with commas between.
    """

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=registry.GATEWAY.port, ge=1, le=65535)
    gateway_admin: Literal["together", "separate"] = Field(
        default="together", description="separate: calls of scope admin, and the console, only at gateway_admin_port"
    )
    gateway_admin_port: int = Field(default=registry.GATEWAY_ADMIN_PORT, ge=1, le=65535)
    gateway_tls: bool = Field(default=False, description="HTTPS, with certificates of Caddy's own authority")
    gateway_origins: str = Field(
        default="", description="origins whose pages may call (CORS), with commas between; empty: none"
    )
    gateway_dir: Path = Field(description="where the configuration and Caddy's own files are")
    gateway_log_dir: Path | None = Field(default=None, description="where its logs are; none: standard error")
    gateway_services: str = Field(
        default=",".join(registry.ALL_NAMES), description="what the deployment has, with commas between"
    )
    gateway_body_timeout: float = Field(
        default=10.0, gt=0, le=300, description="for a request to arrive, its body included; a slower one gets 408"
    )
    gateway_connections: int = Field(
        default=16_384, ge=256, description="files open at once: a client's connection is one, a call to a service too"
    )
    max_body: int = Field(
        default=OfServices.model_fields["max_body"].default, ge=1024, description="bytes, as of the services"
    )
    console_url: str = registry.CONSOLE.url

    @property
    def services(self) -> tuple[str, ...]:
        """The names in `gateway_services`."""
        return tuple(filter(None, (name.strip() for name in self.gateway_services.split(","))))

    @property
    def origins(self) -> tuple[str, ...]:
        """The names in `gateway_origins`."""
        return tuple(filter(None, (name.strip() for name in self.gateway_origins.split(","))))

    def urls(self, service: str) -> tuple[str, ...]:
        """Return where the instances of a service are."""
        return tuple(url.strip().rstrip("/") for url in str(getattr(self, f"{service}_url")).split(","))

    def at(self, urls: Mapping[str, Sequence[str]]) -> Self:
        """Return the same with other addresses of these services."""
        return self.model_copy(update={f"{name}_url": ",".join(those) for name, those in urls.items()})

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse what is no service and no origin, and two listeners on one port."""
        strangers = sorted(set(self.services) - set(registry.ALL_NAMES))
        if strangers:
            raise ValueError(f"ORDERS_GATEWAY_SERVICES: there is no service {strangers[0]!r}")
        wrong = [origin for origin in self.origins if _ORIGIN.fullmatch(origin) is None]
        if wrong or len(self.origins) > _MOST_ORIGINS:
            raise ValueError(
                f"ORDERS_GATEWAY_ORIGINS takes up to {_MOST_ORIGINS} origins such as https://shop.example: "
                f"{wrong[0] if wrong else len(self.origins)} is not one"
            )
        if self.gateway_port == self.gateway_admin_port:
            raise ValueError("ORDERS_GATEWAY_PORT and ORDERS_GATEWAY_ADMIN_PORT are the same port")
        return self
