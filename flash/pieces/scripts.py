"""The scripts of the store in Redis: called by their hash, sent whole where Redis does not know them (any more)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any

import redis


@dataclass(frozen=True, slots=True)
class Script:
    """One script."""

    source: str
    sha: str

    def __call__(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run it, and return what it returned.

        A Redis that was restarted, flushed or replaced has forgotten it: EVAL has it learn and run it at once.
        """
        try:
            return client.evalsha(self.sha, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            return client.eval(self.source, len(keys), *keys, *arguments)


def text_of(part: str) -> str:
    """Return what is in `lua/<part>.lua`."""
    return (resources.files("flash.pieces") / "lua" / f"{part}.lua").read_text(encoding="utf-8")


@cache
def script(name: str) -> Script:
    """Return the script of that name, with what all of them share before it."""
    source = "\n".join(map(text_of, ("common", name)))
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
