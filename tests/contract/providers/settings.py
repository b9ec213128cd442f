"""Settings of a provider under test."""

from typing import Any

from common.config import Settings

SECRET = "a secret of a test, long enough for that"


WITHIN = 10.0
"""Seconds for a call that is answered: a busy machine is no fault."""


def settings(*, within: float = WITHIN, **given: Any) -> Settings:
    """Return settings; a call may take `within` seconds."""
    plain = {"port": 1, "jwt_secret": SECRET, "database_url": "sqlite://", "pay_url": "http://127.0.0.1:1"}
    made = Settings(**{**plain, "peer_timeout": within, **given})
    return made.model_copy(update={"provider_timeout": within})  # more than a deployment may set
