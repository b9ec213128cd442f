"""The files with which a directory of instances and we prove to each other who we are (TLS)."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM. `authority`: who signed the server's certificate; None: one of those that `certifi` lists.

    `own` and `key`: our certificate and its private key, for a server that asks for one; None: we have none.
    """

    authority: Path | None = None
    own: Path | None = None
    key: Path | None = None

    def fault(self, *, used: bool) -> str | None:
        """Return what is wrong with them, None if nothing; `used`: whether TLS is spoken at all."""
        named = {"CA": self.authority, "CERTIFICATE": self.own, "KEY": self.key}
        for name, path in named.items():
            if path is not None and not used:
                return f"ORDERS_DISCOVERY_{name} is for etcds://HOST:PORT alone."
            if path is not None and not path.is_file():
                return f"ORDERS_DISCOVERY_{name}: there is no file {path}."
        if (self.own is None) is not (self.key is None):
            return "ORDERS_DISCOVERY_CERTIFICATE and ORDERS_DISCOVERY_KEY go together."
        return None
