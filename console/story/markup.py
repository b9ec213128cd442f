"""Elements of a page, of text: everything that is put into one is escaped here, and nowhere else."""

import re
from html import escape

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is markup already. Made by `tag` and `join` only."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element. Names of attributes are given with underscores, `class_` for `class`; values are escaped.

    `children` are escaped unless they are markup.
    """
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(_number(of))}"' for key, of in attributes.items())
    inside = join(*children)
    return Markup(f"<{name}{told}>{inside}</{name}>")


def join(*parts: str) -> Markup:
    """Return parts one after the other, escaped unless they are markup."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts))


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text), quote=True)
