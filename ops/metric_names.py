"""The metrics that our code makes, read from its source: what dashboards and alerts may name.

A counter, a histogram and a gauge are calls of `common.telemetry.Metrics` with their name and description written out;
gauges that are looked up for a scrape are the keys that a function returns whose answer is a `dict[str, float]`; one
with labels is a call of `observe_by`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from common.registry import ALL_NAMES
from ops.places import PACKAGES

Kind = Literal["counter", "gauge", "histogram"]

_PACKAGES: Final = ("common", *ALL_NAMES)
_KINDS: Final[tuple[Kind, ...]] = ("counter", "gauge", "histogram")
_LOOKED_UP: Final = "dict[str, float]"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name as Prometheus has it, without what a kind adds to it (`_total`, `_bucket`)."""

    name: str
    kind: Kind
    description: str = ""
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name in a query: of a histogram, that of its buckets."""
        return self.name + {"counter": "_total", "gauge": "", "histogram": "_bucket"}[self.kind]


def families() -> dict[str, Family]:
    """Return every metric by its name. Raise `ValueError` where two of one name are of different kinds."""
    found: dict[str, Family] = {}
    for package in _PACKAGES:
        for path in sorted((PACKAGES / package).rglob("*.py")):
            for family in _in(path):
                known = found.setdefault(family.name, family)
                if known.kind != family.kind:
                    raise ValueError(f"{family.name} is a {known.kind} and, in {path}, a {family.kind}.")
    return dict(sorted(found.items()))


def _in(path: Path) -> Iterator[Family]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call) and (family := _made(node)) is not None:
            yield family
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) == _LOOKED_UP:
            yield from (Family(f"orders_{name}", "gauge") for name in _keys(node))


def _made(call: ast.Call) -> Family | None:
    if isinstance(call.func, ast.Attribute) and call.func.attr == "observe_by":
        name, description, labels = map(ast.literal_eval, call.args[:3])
        return Family(f"orders_{name}", "gauge", description, labels)
    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if not isinstance(call.func, ast.Attribute) or len(words) < 2 or len(words) != len(call.args):  # noqa: PLR2004
        return None
    kind = next((kind for kind in _KINDS if kind == call.func.attr), None)
    return None if kind is None else Family(f"orders_{words[0]}", kind, words[1], tuple(words[2:]))


def _keys(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
            yield from (
                key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
