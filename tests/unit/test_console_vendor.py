"""The files of others that the console sends to browsers."""

import hashlib
import json
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parents[2] / "console" / "static"


def packages() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((STATIC / "vendor.json").read_text())
    return listed


def test_each_is_what_its_author_published() -> None:
    """Its bytes have the hash that `scripts/vendor` wrote down when it fetched them."""
    for package in packages():
        for file in package["files"]:
            found = hashlib.sha256((STATIC / file["file"]).read_bytes()).hexdigest()
            assert found == file["sha256"], file["file"]


def test_none_is_there_that_is_not_listed() -> None:
    """With its package, version and licence, whose text is beside it."""
    listed = {file["file"] for package in packages() for file in package["files"]}
    assert {f"vendor/{path.name}" for path in (STATIC / "vendor").iterdir()} == listed
    for package in packages():
        assert package["licence"] in {"MIT", "0BSD"}
        assert package["version"].count(".") == 2
        assert any("LICENSE" in file["file"] for file in package["files"]), package["package"]
