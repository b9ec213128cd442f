"""One OpenAPI document out of those of all services."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.operations import Json, Operation

_ABOUT = "All that the services serve, under one address. "


def document(documents: Mapping[str, Json], shown: Iterable[Operation]) -> Json:
    """Return the joint document of the calls that are `shown`, with the components that these refer to.

    A component that services have alike is there once; of those that only share a name, each but the first is called
    after its service, `Stock.Level`, and referred to so. An operation's id is led by its service's name, its tag is it.
    """
    components: Json = {}
    paths: Json = {}
    shown = list(shown)
    for service, given in documents.items():
        own = [(one, given["paths"][one.path][one.method.lower()]) for one in shown if one.service == service]
        names = _add(components, _used(given["components"], [operation for _, operation in own]), service)
        for one, said in own:
            operation = _referring(said, names)
            operation |= {"operationId": f"{service}_{operation['operationId']}", "tags": [service]}
            paths.setdefault(one.path, {})[one.method.lower()] = operation
    first = next(iter(documents.values()))
    descriptions = [{"name": name, "description": each["info"]["title"]} for name, each in documents.items()]
    used = {one.service for one in shown}
    return {
        "openapi": first["openapi"],
        "info": {
            "title": "Orders",
            "version": first["info"]["version"],
            "description": _ABOUT + first["info"]["description"].partition("\n\n")[2],
        },
        "servers": [{"url": "/"}],
        "tags": [tag for tag in descriptions if tag["name"] in used],
        "paths": paths,
        "components": components,
    }


def _used(components: Json, operations: Iterable[Json]) -> Json:
    """Return those of a document's components that operations need, and security schemes, which are named otherwise."""
    found: Json = {"securitySchemes": components.get("securitySchemes", {})}
    open_ends: list[Any] = list(operations)
    while open_ends:
        for ref in _refs(open_ends.pop()):
            kind, name = ref.split("/")[-2:]
            if name not in found.setdefault(kind, {}):
                found[kind][name] = components[kind][name]
                open_ends.append(components[kind][name])
    return found


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            yield ref
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _refs(inner)


def _add(components: Json, given: Json, service: str) -> dict[str, str]:
    """Add a service's components; return by their references those that are called otherwise now."""
    renamed: dict[str, str] = {}
    while True:  # a component that refers to a renamed one is another one too: again, until nothing is renamed anew
        before = len(renamed)
        for kind, those in given.items():
            for name, what in those.items():
                ref = f"#/components/{kind}/{name}"
                known = components.get(kind, {}).get(name)
                if ref not in renamed and known is not None and known != _referring(what, renamed):
                    renamed[ref] = f"#/components/{kind}/{service.capitalize()}.{name}"
        if len(renamed) == before:
            break
    for kind, those in given.items():
        for name, what in those.items():
            ref = f"#/components/{kind}/{name}"
            components.setdefault(kind, {})[renamed.get(ref, ref).rpartition("/")[2]] = _referring(what, renamed)
    return renamed


def _referring(value: Any, renamed: Mapping[str, str]) -> Any:
    """Return a copy of a part of a document whose references are those of the joint one."""
    if isinstance(value, dict):
        return {
            key: renamed.get(inner, inner) if key == "$ref" and isinstance(inner, str) else _referring(inner, renamed)
            for key, inner in value.items()
        }
    return [_referring(inner, renamed) for inner in value] if isinstance(value, list) else value
