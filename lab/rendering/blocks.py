"""Parts of files that list our services: between two comments, with what `common.registry` says in between.

A file of another tool (Docker, setuptools' and import-linter's configuration, a page of the docs) can't ask our code
for the list. So it has `begin NAME` and `end NAME` in comments of its own, and what is between is written here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from common import registry
from common.registry import ALL_NAMES, CALLERS, NAMES, PARTICIPANTS, PROCESSES, SERVICES, Service

_BLOCK: Final = re.compile(
    r"^(?P<begin>(?P<indent> *)\S+ begin (?P<name>[a-z-]+)\b.*\n)(?:.*\n)*?(?P<end> *\S+ end (?P=name)\b.*\n)",
    re.MULTILINE,
)
_NOT_SHIPPED: Final = {"lab", "tests"}  # in neither the wheel nor the image, as setup.cfg says
_DATABASE_URL: Final = "mysql+pymysql://orders:${{MYSQL_PASSWORD:?see .env.example}}@mysql:3306/{}?charset=utf8mb4"
_INSTANCES_SHOWN: Final = 3


def filled(text: str, root: Path) -> str:
    """Return a file's text with each of its blocks as it is to be, for the clone at `root`.

    Raise `KeyError` for a block of a name that is not known.
    """

    def fill(found: re.Match[str]) -> str:
        lines = _CONTENTS[found["name"]](root)
        body = "".join(f"{found['indent']}{line}".rstrip() + "\n" for line in lines)
        return f"{found['begin']}{body}{found['end']}"

    return _BLOCK.sub(fill, text)


def names(text: str) -> list[str]:
    """Return the names of a file's blocks."""
    return [found["name"] for found in _BLOCK.finditer(text)]


def _shipped(root: Path) -> list[str]:
    return sorted({init.parent.name for init in root.glob("*/__init__.py")} - _NOT_SHIPPED)


def _containers() -> Iterable[str]:
    """Yield the services of compose.yaml, but those that have keys of their own: they are written there by hand."""
    for service in SERVICES:
        if service.name not in CALLERS:
            yield from _container(service)


def _container(service: Service) -> Iterable[str]:
    name, port = service.name, service.port
    yield f"{name}:"
    yield "  <<: *service"
    yield "  depends_on:"
    for once in ("keys", "migrate", *(["topics"] if service.consumes else [])):
        yield f"    {once}: {{ condition: service_completed_successfully }}"
    yield "    redis: { condition: service_healthy }"
    yield f'  command: ["python", "-m", "{name}"]'
    yield "  environment:"
    yield "    <<: *settings"
    yield f"    ORDERS_PORT: {port}"
    yield f"    ORDERS_DATABASE_URL: {_DATABASE_URL.format(name)}"
    yield f'  ports: ["127.0.0.1:${{{name.upper()}_PORT:-{port}}}:{port}"]'
    yield ""


def _table_of_ports() -> Iterable[str]:
    yield f"| | {' | '.join(ALL_NAMES)} |"
    yield "|---" * (1 + len(ALL_NAMES)) + "|"
    for number in range(1, 1 + _INSTANCES_SHOWN):
        ports = (registry.FIRST_PORT + registry.offset(name, number) for name in ALL_NAMES)
        yield f"| {'first' if number == 1 else f'`-{number}`'} | {' | '.join(map(str, ports))} |"


def _backup() -> Iterable[str]:
    """Yield what copies all databases: what holds something for orders before these, money after them."""
    first = ["broker", *(name for name in PARTICIPANTS if name != "pay"), "order", "pay"]
    rest = (name for name in ALL_NAMES if name not in first)
    yield "```sh"
    yield '(set -e; umask 077; to=/backup/$(date +%F-%H%M%S); mkdir "$to"'
    yield f"for db in {' '.join([*first, *rest])}; do"
    yield "  [ ! -f $db.db ] || sqlite3 $db.db \"VACUUM INTO '$to/$db.db'\""
    yield "done)"
    yield "```"


_CONTENTS: Final[Mapping[str, Callable[[Path], Iterable[str]]]] = {
    "addresses": lambda _: (f"ORDERS_{one.name.upper()}_URL: http://{one.name}:{one.port}" for one in SERVICES),
    "backup": lambda _: _backup(),
    "containers": lambda _: _containers(),
    "copied-packages": lambda root: (f"COPY {name} {name}" for name in _shipped(root)),
    "database-urls": lambda _: (f"{name.upper()}_DATABASE_URL: {_DATABASE_URL.format(name)}" for name in ALL_NAMES),
    "exposed-ports": lambda _: [f"EXPOSE {' '.join(str(service.port) for service in PROCESSES)}"],
    "host-ports": lambda _: (f"{service.name.upper()}_PORT={service.port}" for service in PROCESSES),
    "packages-let-in": lambda root: (f"!{name}" for name in _shipped(root)),
    "processes": lambda _: sorted(ALL_NAMES),
    "services": lambda _: sorted(NAMES),
    "table-of-ports": lambda _: _table_of_ports(),
    "use-cases": lambda _: (f"{name}.{room}" for name in sorted(ALL_NAMES) for room in ("model", "service")),
}
"""By the name of a block: its lines, for the clone at a path."""
