"""Looking at several things at once by their ids, for the other services: `POST /<things>/lookup`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pydantic import Field, create_model

from common.schema import Id, Schema
from common.web import Api, Reply

MOST: Final = 200  # ids of one look-up
LONGEST: Final = 8 * 1024  # bytes that as many have at most


class Found(Schema):
    """Those of the things asked for that exist; a service's names what they are."""

    items: Sequence[Schema]


def install_lookup(
    api: Api,
    things: str,
    ids: str,
    item: type[Schema],
    look_up: Callable[[Iterable[int]], Iterable[Any]],
    show: Callable[[Any], Schema],
) -> None:
    """Declare the route for `things`, whose ids a caller names in the member `ids`; unknown ones are left out.

    `look_up` returns those that exist, which are answered as `item`, as `show` writes them.
    """
    asked = (tuple[Id, ...], Field(min_length=1, max_length=MOST))
    body_of = create_model("Lookup", __base__=Schema, __doc__=f"Which {things} to look up.", **{ids: asked})  # type: ignore[call-overload]
    found = tuple[item, ...]  # type: ignore[valid-type]
    doc = f"Those of the {things} asked for that exist."
    answer = create_model("Found", __base__=Found, __doc__=doc, items=(found, ...))

    def look(body: Schema) -> Reply:
        return Reply(answer(items=tuple(map(show, look_up(getattr(body, ids))))))

    look.__name__ = f"lookup_{things}"
    look.__doc__ = f"Look at several {things} at once, for the other services; unknown ones are left out."
    declare = api.post(
        f"/{things}/lookup", scopes=("service",), body=body_of, returns={200: answer}, body_at_least=LONGEST
    )
    declare(look)
