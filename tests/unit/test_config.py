"""Settings that contradict each other are refused before anything starts."""

import pytest
from pydantic import ValidationError

from common.config import Settings

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
    with pytest.raises(ValidationError, match="record_retention"):
        Settings.model_validate(GOOD | changed)


def test_the_secret_does_not_show() -> None:
    """Settings may be printed."""
    assert "s" * 32 not in repr(Settings.model_validate(GOOD))
