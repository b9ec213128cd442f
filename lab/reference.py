"""The library's reference, `docs/library/reference/`: what its docstrings say, as pages, by griffe2md.

A page is made of modules; a name is on it if it has a docstring and no underscore.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from griffe import GriffeLoader
from griffe2md import ConfigDict, render_object_docs

FOLDER: Final = "docs/library/reference"
PAGES: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "messages": (
        "Transactional messages in your own transaction, and consumers whose effect happens once.",
        (
            *("transactional", "transactional.asynchronous", "contrib.flask", "contrib.pytest_plugin"),
            *("drill.scenario", "errors"),
        ),
    ),
    "sagas": (
        "Sagas: steps with compensations, for what no single transaction ends.",
        (
            *("saga.definition", "saga.engine", "saga.operating", "saga.barrier", "saga.rest", "saga.waking"),
            *("saga.plan", "saga.model", "saga.log", "saga.errors"),
        ),
    ),
    "parts": (
        "What both are made of: brokers behind one port, transactions on an engine, ids, participants, failpoints.",
        (
            *("mq.factory", "mq.port", "tx.record", "tx.coordinator", "db", "ids", "participant.effect"),
            *(
                "participant.limited",
                "participant.reservations",
                "participant.consumer",
                "participant.model",
                "failpoints",
                "clock",
            ),
        ),
    ),
}
"""By page: what it is about, and its modules below `halfmessage`, in the order in which one reads."""

_LONGEST: Final = 100  # columns of a signature in one line
_CONFIG: Final = ConfigDict(
    docstring_style=None,
    filters=["!^_"],
    members_order="source",
    summary=False,
    show_if_no_docstring=False,
    show_submodules=False,
    show_root_full_path=True,
    show_object_full_path=False,
    show_signature_annotations=True,
    separate_signature=True,
    signature_crossrefs=False,
    merge_init_into_class=True,
    heading_level=2,
)


def pages(root: Path) -> dict[str, str]:
    """Return each page's text by its file name, from the sources of the clone at `root`; nothing is imported."""
    loader = GriffeLoader(search_paths=[root], allow_inspection=False)
    loader.load("halfmessage", submodules=True, try_relative_path=False)  # or it is that of the working directory
    loader.resolve_aliases(implicit=False, external=False)
    return {
        f"{name}.md": "\n".join([_head(name, about), *(_module(loader, module) for module in modules)])
        for name, (about, modules) in PAGES.items()
    }


def _head(name: str, about: str) -> str:
    others = " · ".join(f"[{other}]({other}.md)" for other in PAGES if other != name)
    return f"# Reference: {name}\n{about}\nMade from the docstrings by `./scripts/reference`. See also {others}.\n"


def _module(loader: GriffeLoader, name: str) -> str:
    rendered = render_object_docs(loader.modules_collection[f"halfmessage.{name}"], _CONFIG)
    return "\n".join(_lines(rendered.splitlines())) + "\n"


def _lines(lines: Sequence[str]) -> Iterator[str]:
    """Yield lines as Markdown has them: signatures that fit, and no `::` of reStructuredText before indented code."""
    blank = False
    for line in lines:
        line = _plain(line.rstrip())  # noqa: PLW2901 - templates leave spaces
        if line == "::" or (blank and not line):
            continue
        blank = not line
        listed = re.match(r"(\w+) {2,}(\S.*)", line)
        if listed:
            yield f"- `{listed[1]}`: {listed[2]}"
        elif len(line) > _LONGEST and line[-1:] != "." and re.match(r"[\w.]+\(", line):
            yield from _broken(line)
        else:
            yield line


def _plain(line: str) -> str:
    """Return a line without links to what has no place here, and with the quotes that the sources have."""
    line = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", line)
    return line if '"' in line or re.match(r"[\w.]+(: [\w\[\], |]+)? ?[=(]", line) is None else line.replace("'", '"')


def _broken(signature: str) -> Iterator[str]:
    """Yield a signature with each argument in a line of its own."""
    name, _, rest = signature.partition("(")
    depth, argument = 0, ""
    yield f"{name}("
    for place, character in enumerate(rest):
        if character == ")" and depth == 0:
            yield f"    {argument.strip()},"
            yield rest[place:]
            return
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield f"    {argument.strip()},"
            argument = ""
        else:
            argument += character
