"""Starts the gateway: asks the services, writes the configuration, and becomes Caddy."""

import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from pydantic import ValidationError

from common.config import explain
from common.discovery.factory import NoSuchDiscovery
from common.registry import BY_NAME, CONSOLE, GATEWAY
from common.replacing import replace_file
from common.web import docs
from gateway import binary, caddy, documents, joint
from gateway.operations import ContradictingDocuments, Json, hidden, public
from gateway.settings import Settings
from gateway.upstreams import Instances

CONFIG: Final = "caddy.json"
_MEMORY: Final = "384MiB"  # what Go's garbage collector tries to keep below; docs/gateway.md tells what is used


RENDER_FAILURES: Final = (documents.NoDocument, ContradictingDocuments, OSError)
"""What `render` raises."""


def main() -> None:
    """Become Caddy; with `--render`, only write the configuration. Exits with status 1 and the reason if it can't."""
    from gateway import following  # noqa: PLC0415 - it renders, too

    only_renders = "--render" in sys.argv[1:]
    try:
        settings = following.known(Settings()) if only_renders else Settings()
        program = binary.find()
        path = render(settings)
    except ValidationError as error:
        _refuse(*explain(error))
    except NoSuchDiscovery as error:
        _refuse(error.detail)
    except (binary.WrongCaddy, *RENDER_FAILURES) as error:
        _refuse(str(error))
    if only_renders:
        return
    following.start_beside(settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = settings.gateway_connections if most == resource.RLIM_INFINITY else min(settings.gateway_connections, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, bound))
    own = str(settings.gateway_dir)
    environment = {"HOME": own, "XDG_DATA_HOME": own, "XDG_CONFIG_HOME": own, "GOMEMLIMIT": _MEMORY}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORDERS_")}
    os.execve(program, [str(program), "run", "--config", str(path)], kept | environment)  # noqa: S606 # nosec B606 - a fixed program


def _refuse(*reasons: str) -> NoReturn:
    sys.exit("\n".join(f"{GATEWAY.name}: can't start: {reason}" for reason in reasons))


def render(settings: Settings) -> Path:
    """Write the configuration and what it serves; return its file. Raise as the parts do."""
    root = settings.gateway_dir
    for folder in (root, root / "documents"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = {
        name: documents.document(name, settings.urls(name), root / "documents" / f"{name}.json")
        for name in settings.services
        if name != CONSOLE.name and not BY_NAME[name].pages
    }
    shown = public(told)
    write_files(root / "files", joint.document(told, shown))
    site = caddy.Site(
        shown,
        hidden(told, shown),
        {name: Instances.at(settings.urls(name)) for name in settings.services if name != CONSOLE.name},
        root / "files",
        Instances.at(settings.urls(CONSOLE.name)) if CONSOLE.name in settings.services else None,
    )
    path = root / CONFIG
    replace_file(path, json.dumps(caddy.config(site, _shape(settings)), indent=1).encode())
    return path


def write_files(folder: Path, document: Json) -> None:
    """Write the joint document and the pages that show it."""
    files = {"openapi.json": json.dumps(document).encode(), **docs.files()}
    for name, content in files.items():
        replace_file(folder / name, content)


def _shape(settings: Settings) -> caddy.Shape:
    host = settings.gateway_host
    shape = caddy.Shape(
        listen=f"{host}:{settings.gateway_port}",
        storage=settings.gateway_dir / "caddy",
        logs=settings.gateway_log_dir,
        max_body=settings.max_body,
        body_within=settings.gateway_body_timeout,
        origins=settings.origins,
    )
    if settings.gateway_admin == "separate":
        shape = replace(shape, admin_listen=f"{host}:{settings.gateway_admin_port}")
    return replace(shape, tls=tuple(dict.fromkeys(["localhost", "127.0.0.1", host]))) if settings.gateway_tls else shape
