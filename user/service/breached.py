"""Passwords that everybody knows: looked up in a sorted file of their SHA-1 hashes, which may be as large as it is.

The file is what Pwned Passwords' downloader makes (https://github.com/HaveIBeenPwned/PwnedPasswordsDownloader):
40 digits in hexadecimal and, perhaps, a colon and a number, one a line, sorted. SHA-1 is its form and protects nothing.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

from common.errors import OrdersError

_LINE: Final = re.compile(rb"[0-9A-F]{40}(:[0-9]+)?\r?\n?", re.IGNORECASE)
_LONGEST: Final = 128  # bytes of a line
_DIGITS: Final = 40


class Breached:
    """The list. Thread-safe: each look-up opens the file, so that a newer one may be put in its place."""

    def __init__(self, path: Path | None) -> None:
        """Take the file; None: there is no list. Raise `OrdersError` where it can't be read, or is none."""
        self._path = path
        if path is not None:
            try:
                with path.open("rb") as file:
                    first = file.readline(_LONGEST)
            except OSError as error:
                raise OrdersError(f"ORDERS_BREACHED_PASSWORDS: {path}: {error.strerror}.") from error
            if _LINE.fullmatch(first) is None:
                raise OrdersError(f"ORDERS_BREACHED_PASSWORDS: {path} is no sorted list of SHA-1 hashes.")

    def has(self, password: str) -> bool:
        """Return whether a password is in it; halving the largest takes some forty reads. Raise `OSError`."""
        if self._path is None:
            return False
        wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
        with self._path.open("rb") as file:
            low, high = 0, file.seek(0, os.SEEK_END)  # the line that is looked for begins at or after low, before high
            while low < high:
                middle = (low + high) // 2
                file.seek(max(middle - 1, 0))
                if middle:
                    file.readline(_LONGEST)  # to the beginning of a line, or its end where one begins here
                begins = file.tell()
                found = file.readline(_LONGEST)[:_DIGITS].upper()
                if begins >= high or not found or found > wanted:
                    high = middle
                elif found == wanted:
                    return True
                else:
                    low = file.tell()
        return False
