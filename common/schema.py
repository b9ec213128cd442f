"""What REST bodies and query strings are made of: strict models, and the types that all services share.

Every constraint shows in the JSON schema as well, so that the OpenAPI document promises exactly what is accepted.
"""

import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from common.currencies import CURRENCIES
from halfmessage.clock import from_rfc3339, rfc3339

T = TypeVar("T")

MAX_ID = 2**63 - 1


class Schema(BaseModel):
    """Base of every body: exact types (no "1" for 1, no 1.0, no true), no unknown fields, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def of_attributes(cls, source: object) -> Self:
        """Return what an object of ours says, whose attributes are called as the fields are."""
        return cls.model_validate(source, from_attributes=True)


class Query(BaseModel):
    """Base of every query string: give it fields of `QueryInt`, `Cursor`, `Literal[…]` or `str`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _at_most(limit: int) -> str:
    """Return a pattern of the canonical decimal numbers from 1 to `limit`: JSON schema can't bound a string's value."""
    digits = str(limit)
    same_length = [
        f"{digits[:i]}[{'1' if i == 0 else '0'}-{int(d) - 1}][0-9]{{{len(digits) - i - 1}}}"
        for i, d in enumerate(digits)
        if int(d) > (i == 0)
    ]
    return f"^(?:{'|'.join([f'[1-9][0-9]{{0,{len(digits) - 2}}}', *same_length, digits])})$"


ID_PATTERN = _at_most(MAX_ID)
_ID = re.compile(r"[1-9][0-9]{0,18}")


def parse_id(text: str) -> int | None:
    """Return the id that `text` writes in canonical decimal, None if it is none."""
    if _ID.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value <= MAX_ID else None


def _id(value: object, info: ValidationInfo) -> int:
    if isinstance(value, int) and info.mode == "python":  # our own code, not a request
        return value
    parsed = parse_id(value) if isinstance(value, str) else None
    if parsed is None:
        raise ValueError("Input should be an id: a positive 64-bit integer in decimal, as a string")
    return parsed


ID_SCHEMA = {"type": "string", "pattern": ID_PATTERN, "examples": ["7365241901285376"]}

Id = Annotated[
    int, BeforeValidator(_id), PlainSerializer(str, return_type=str, when_used="json"), WithJsonSchema(ID_SCHEMA)
]
"""A snowflake: an int in Python, a string of decimal digits in JSON (JavaScript's numbers lose 64-bit integers)."""


WORD_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
Word = Annotated[str, StringConstraints(pattern=WORD_PATTERN)]
"""A name that people type and that stands in paths as it is."""

LAST_INSTANT = 253_402_300_799_999  # ms since the epoch: the end of the year 9999, the last that RFC 3339 can write
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _instant(value: object, info: ValidationInfo) -> int:
    if isinstance(value, int) and info.mode == "python":  # our own code, not a request
        return value
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        raise ValueError("Input should be a time as RFC 3339 has it, with an offset or Z")
    ms = from_rfc3339(value.upper())
    if not 0 <= ms <= LAST_INSTANT:
        raise ValueError("Input should be a time between 1970 and 9999")
    return ms


Instant = Annotated[
    int,
    BeforeValidator(_instant),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-01T00:00:00Z"]}),
]
"""A time: ms since the epoch in Python, RFC 3339 in JSON (UTC when we write it)."""


def distinct_by(name: str) -> AfterValidator:
    """Refuse a list in which two members have the same value of the field `name`."""

    def check(members: list[T]) -> list[T]:
        if len({getattr(member, name) for member in members}) < len(members):
            raise ValueError(f"List should not have the same {name} twice")
        return members

    return AfterValidator(check)


def later_than(name: str) -> AfterValidator:
    """Refuse a time that is not later than that of the field `name`, which stands before it, where both are told."""

    def check(value: int, info: ValidationInfo) -> int:
        earlier = info.data.get(name)
        if earlier is not None and value <= earlier:
            raise ValueError(f"Input should be later than {name}")
        return value

    return AfterValidator(check)


UserId = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
"""Whose something is: the `sub` of a token, see `common.auth`."""

MAX_MONEY = 10**11
Money = Annotated[int, Field(ge=0, le=MAX_MONEY)]
"""Integer minor units. The limit keeps the total of the largest order (50 x 999 pieces) below 2**53, exact in JSON."""

Quantity = Annotated[int, Field(ge=1, le=999)]
"""Pieces of one goods in an order."""


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError("Input should be an active currency code of ISO 4217")
    return value


Currency = Annotated[
    str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": list(CURRENCIES), "title": "ISO 4217"})
]

# Control characters have no place in either; NUL also can't be stored everywhere.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text on one line. Bound its length with `Field(max_length=…)`."""
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Text with tabs and newlines. Bound its length with `Field(max_length=…)`."""


def _decimal(value: object) -> object:
    if isinstance(value, str):
        if re.fullmatch(r"0|[1-9][0-9]{0,18}", value) is None:
            raise ValueError("Input should be an integer in decimal digits")
        return int(value)
    return value


QueryInt = Annotated[int, BeforeValidator(_decimal)]
"""A natural number in a query string, in canonical decimal. Bound it with `Field(ge=…, le=…)`."""


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("Input should be 'true' or 'false'")
        return value == "true"
    return value


QueryFlag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"enum": ["true", "false"], "type": "string"})]
"""True or false in a query string, as these words."""


class Health(Schema):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Checks(Schema):
    """What the service needs, and whether it answers."""

    checks: dict[str, Literal["ok", "failed"]]


class Readiness(Checks):
    """All that the service needs answers."""

    status: Literal["ready"] = "ready"
