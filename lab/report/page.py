"""Pages for people: one HTML file each, nothing loaded from anywhere, readable on a phone."""

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from halfmessage.clock import rfc3339


def render(template: str, **values: object) -> str:
    """Return the page of one of the templates beside this."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("lab.report"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"clock": _clock, "day": _day}
    return environment.get_template(template).render(values)


def _clock(ms: int) -> str:
    return rfc3339(ms)[11:-1]


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%-d %B %Y, %H:%M UTC")
