"""Settings of a provider under test."""

from typing import Any

from common.config import Settings

SECRET = "a secret of a test, long enough for that"


def settings(**given: Any) -> Settings:
    """Return settings with short limits, so that what is not answered is over soon."""
    plain = {"port": 1, "jwt_secret": SECRET, "database_url": "sqlite://", "pay_url": "http://127.0.0.1:1"}
    return Settings(**{**plain, "peer_timeout": 0.5, "provider_timeout": 0.5, **given})
