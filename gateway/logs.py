"""The gateway's logs: JSON, bounded, and without secrets."""

from pathlib import Path
from typing import Any, Final

from common.logfile import KEPT, LARGEST

Json = dict[str, Any]

ACCESS: Final = "gateway-access.log"
ERRORS: Final = "gateway.log"
_MEGABYTE: Final = 1024 * 1024
_HIDDEN: Final = "REDACTED"
SHOWN: Final = ("cursor", "limit", "open", "order_id", "status", "usable")
"""The parameters whose values are logged: those that the calls have. Any other may be a secret under any name."""
_LONGEST: Final = 31  # characters of a part of a path; no call has a longer one, and a secret is longer
_SECRETS: Final = (
    # No address has a space, which Go refuses: it marks what is shown until the rest is hidden. Go has no look-ahead.
    (rf"([?&;])((?:{'|'.join(SHOWN)})=)", "${1} ${2}"),
    (r"([?&;](?:[A-Za-z0-9_.%\[\]-]{1,32}=)?)[^ &;][^&;]*", "${1}" + _HIDDEN),
    (r"([?&;]) ", "${1}"),
    (r"/page/[^/?]+", f"/page/{_HIDDEN}"),  # who has the address of a payment's page may pay
    (r"/by-code/[^/?]+", f"/by-code/{_HIDDEN}"),  # who has the code of a coupon may use it
    (rf"/[^/?;]{{{_LONGEST + 1},}}", f"/{_HIDDEN}"),
    (r"eyJ[A-Za-z0-9_%-]{8,}(?:\.|%2[eE])[A-Za-z0-9_.%-]*", _HIDDEN),  # a JWT, wherever it stands
)


def logging(directory: Path | None) -> Json:
    """Return what is logged: each call, and what goes wrong, into files of `directory`, or to standard error.

    Headers are left out whole, as many of them are secrets: what is needed of them is the request's id, which has a
    field of its own.
    """
    return {
        "logs": {
            "default": {
                "level": "INFO",
                "writer": _writer(directory, ERRORS),
                "encoder": _encoder(),
                "exclude": ["http.log.access"],
            },
            "access": {
                "level": "INFO",
                "writer": _writer(directory, ACCESS),
                "encoder": _encoder(),
                "include": ["http.log.access"],
            },
        }
    }


def _writer(directory: Path | None, name: str) -> Json:
    if directory is None:
        return {"output": "stderr"}
    return {
        "output": "file",
        "filename": str(directory / name),
        "mode": "0640",
        "roll_size_mb": max(1, LARGEST // _MEGABYTE),
        "roll_keep": KEPT,
        "roll_gzip": False,
    }


def _encoder() -> Json:
    hidden = {
        "filter": "multi_regexp",
        "operations": [{"regexp": pattern, "value": value} for pattern, value in _SECRETS],
    }
    gone = {"filter": "delete"}
    return {
        "format": "filter",
        "wrap": {"format": "json", "time_format": "rfc3339_nano"},
        "fields": {"request>headers": gone, "resp_headers": gone, "request>uri": hidden},
    }
