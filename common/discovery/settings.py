"""Settings of all that finds instances, the services and the gateway: their addresses, or where these are listed."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, create_model
from pydantic_settings import BaseSettings, SettingsConfigDict

from common import registry
from common.discovery.certificates import Certificates

if TYPE_CHECKING:
    _Addresses = BaseSettings
else:  # where each service of the registry is: order_url and so on
    _URLS = {f"{service.name}_url": (str, service.url) for service in registry.SERVICES}
    _Addresses = create_model("Addresses", __base__=BaseSettings, **_URLS)


class Addresses(_Addresses):
    """The address of each service, and the list of instances that goes before them."""

    model_config = SettingsConfigDict(env_prefix="ORDERS_", extra="ignore", frozen=True, hide_input_in_errors=True)

    discovery: str = Field(
        default="",
        repr=False,
        description="where instances are listed: embedded:///FOLDER, etcd://HOST:PORT, etcds://HOST:PORT or "
        "consul://HOST:PORT; empty: the addresses of the settings",
    )
    discovery_ca: Path | None = Field(
        default=None, description="of etcds://: who signed its certificate; none: those that certifi lists"
    )
    discovery_certificate: Path | None = Field(
        default=None, description="of etcds://: our certificate, where it asks for one"
    )
    discovery_key: Path | None = Field(default=None, description="the private key of discovery_certificate")
    discovery_file: Path | None = Field(
        default=None, description="keeps the last known list for a start while discovery is down; none: nothing does"
    )

    @property
    def discovery_certificates(self) -> Certificates:
        """The files for a list of instances that speaks TLS."""
        return Certificates(self.discovery_ca, self.discovery_certificate, self.discovery_key)
