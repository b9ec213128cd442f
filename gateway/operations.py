"""Which calls are served at the one address: read from the OpenAPI documents of the services, never listed by hand."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

METHODS: Final = ("get", "put", "post", "delete", "patch")
_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
_INTERNAL: Final = ("/internal/", "/admin/")
"""Calls between services, and those of the console and the command line, which ask one service at a time."""
_SYSTEM: Final = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
"""What each service answers about itself; the gateway answers for itself."""


class ContradictingDocuments(Exception):
    """Two services claim the same path, so that one address can't serve both."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call at the gateway; `pattern` matches its path whole, in Go's words (RE2) as in Python's."""

    service: str
    method: str
    path: str
    pattern: str
    admin: bool
    """Whether no scope but `admin` is enough."""


def public(documents: Mapping[str, Json]) -> list[Operation]:
    """Return the calls for people out of the services' documents, by the services' names.

    Not those under `/internal` and `/admin`, those that a service answers about itself, and those between services:
    whose scopes name `service` and not `orders`. Raise `ContradictingDocuments`.
    """
    found = [
        Operation(service, method.upper(), path, _pattern(path, operation), _scopes(operation) == {"admin"})
        for service, document in documents.items()
        for path, item in document["paths"].items()
        if path not in _SYSTEM and not path.startswith(_INTERNAL)
        for method, operation in item.items()
        if method in METHODS and _is_for_people(_scopes(operation))
    ]
    _refuse_twins(found)
    return found


def hidden(documents: Mapping[str, Json], shown: Iterable[Operation]) -> list[Operation]:
    """Return calls that are not public, on a path that has public ones: they are to be refused by method."""
    paths = {(one.service, one.path): one.pattern for one in shown}
    known = {(one.service, one.path, one.method) for one in shown}
    return [
        Operation(service, method.upper(), path, paths[service, path], admin=False)
        for service, document in documents.items()
        for path, item in document["paths"].items()
        for method in item
        if method in METHODS and (service, path) in paths and (service, path, method.upper()) not in known
    ]


def _scopes(operation: Json) -> set[str]:
    return {scope for way in operation.get("security", ()) for scope in way.get("token", ())}


def _is_for_people(scopes: set[str]) -> bool:
    return "service" not in scopes or "orders" in scopes


def _pattern(path: str, operation: Json) -> str:
    """Return what matches a path: each parameter as its schema has it, so that no other call's path is taken for it."""
    schemas = {given["name"]: given["schema"] for given in operation["parameters"] if given["in"] == "path"}
    parts = _PARAMETER.split(path)
    return "".join(
        _inner(schemas[part].get("pattern", "[^/]+")) if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )


def _inner(pattern: str) -> str:
    return f"(?:{pattern.removeprefix('^').removesuffix('$')})"


def _refuse_twins(found: Iterable[Operation]) -> None:
    owners: dict[str, str] = {}
    for one in found:
        shape = _PARAMETER.sub("{}", one.path)
        owner = owners.setdefault(shape, one.service)
        if owner != one.service:
            raise ContradictingDocuments(f"{owner} and {one.service} both serve {one.path}")
