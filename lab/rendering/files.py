"""Every file of the clone that `./scripts/render` writes."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from common import migrations, registry
from lab.drill import faults
from lab.rendering import blocks
from ops import docker

WITH_BLOCKS: Final = (
    *("setup.cfg", "docker/.env.example", "docker/Dockerfile", "docker/Dockerfile.dockerignore", "docker/compose.yaml"),
    *("docs/backup.md", "docs/operations.md"),
)
"""Files of which parts are written, see `lab.rendering.blocks`."""


def listing(root: Path) -> dict[str, str]:
    """Return what names services or settings of theirs, by path in the clone at `root`."""
    whole = {f"docker/{name}": text for name, text in docker.files().items()}
    parts = {name: blocks.filled((root / name).read_text(encoding="utf-8"), root) for name in WITH_BLOCKS}
    return whole | parts


def rendered(root: Path) -> dict[str, str]:
    """Return all: also the schemas on SQLite that the migrations lead to, and what drills can break."""
    drills = json.dumps(faults.document(), indent=2) + "\n"
    return listing(root) | _schemas() | {"console/faults.json": drills}


def _schemas() -> dict[str, str]:
    found = {}
    with TemporaryDirectory() as folder:
        for name in registry.ALL_NAMES:
            url = f"sqlite:///{folder}/{name}.db"
            migrations.upgrade(name, url)
            found[f"sql/{name}/schema.sqlite.sql"] = migrations.schema_sql(url)
    return found
