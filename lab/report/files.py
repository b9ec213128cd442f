"""Files that a command was asked for: a document for programs, a page for people."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

_STDOUT = Path("-")


def write(
    out: Console,
    document: Mapping[str, Any],
    page: Callable[[], str],
    *,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Write those that are asked for, and tell where they are; a document for the file `-` goes where we print."""
    text = json.dumps(document, indent=2, default=str)
    if json_file == _STDOUT:
        out.print(text, markup=False, soft_wrap=True)
    elif json_file is not None:
        _write(out, json_file, text + "\n")
    if html_file is not None:
        _write(out, html_file, page())


def _write(out: Console, file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    out.print(f"Written: {file}", markup=False, soft_wrap=True)
