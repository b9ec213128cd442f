"""Whatever bytes arrive: what the fast look at a body lets through, the thorough one lets through too."""

import json
from contextlib import suppress
from typing import Any

from flask import Request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, RootModel

from common.errors import Invalid, Malformed
from common.web.bodies import Bodies
from common.web.requests import MAX_DEPTH, _check_json_thoroughly, _is_plain, read_body
from halfmessage.errors import HalfMessageError

# Keys and strings of few characters, so that keys occur twice, and strings look like pieces of JSON.
STRINGS = st.text(st.sampled_from('ab"\\:,{}[] \n\x00\ud800\udc00é€😀\u2028'), max_size=6)
SCALARS = st.one_of(
    STRINGS.map(json.dumps),
    STRINGS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.integers().map(str),
    st.floats().map(json.dumps),  # NaN and Infinity among them
    st.sampled_from(["null", "true", "false", "-0", "1e999", "1E-9", "01", "1.", ".5", "+1", "0x1", "nan", "9" * 5000]),
)
SPACES = st.sampled_from(["", " ", "\n\t", "\r", "\x0b", "\u00a0", "\ufeff", "/**/"])
_BODIES = Bodies(largest=1024 * 1024, within=60, slow=1)


def _array(items: list[str], space: str) -> str:
    return f"[{space}{f'{space},'.join(items)}{space}]"


def _object(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + ",".join(f"{space}{json.dumps(key)}{space}:{space}{value}" for key, value in pairs) + space + "}"


DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=4), SPACES),
        st.builds(_object, st.lists(st.tuples(STRINGS, inner), max_size=4), SPACES),
    ),
    max_leaves=40,
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """Return a document of which a byte or two is another one, is missing or is there twice."""
    raw = bytearray(draw(DOCUMENTS).encode(errors="surrogatepass"))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(raw)


def _passes_thoroughly(raw: bytes) -> bool:
    try:
        _check_json_thoroughly(raw)
    except HalfMessageError:
        return False
    return True


@settings(max_examples=400)
@given(_damaged())
@example(b'{"a":1,"a":2}')
@example(b'{"a":1,"b":{"a":":","a":2}}')
@example(b'{"a\\u0000":1}')
@example(b'{"a":"\\ud800"}')
@example(b'{"a":"b\x00"}')
@example(b'{"a":NaN}')
@example(b'{"a":' + b"9" * 5000 + b"}")
@example(b"[" * 33 + b"]" * 33)
@example(b'[{"a":' * 17 + b"1" + b"}]" * 17)
@example(b'\xef\xbb\xbf{"a":1}')
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'["a":1]')
@example(b'{"x":"","":"","":""}')
@example(b'["\\":",{"a":1,"a":2}]')
def test_the_fast_look_lets_nothing_through_that_the_thorough_one_refuses(raw: bytes) -> None:
    """Duplicate keys, NaN, NUL, half surrogate pairs, huge integers, deep nesting, or no JSON at all."""
    if _is_plain(raw):
        assert _passes_thoroughly(raw), raw


class Anything(RootModel[Any]):
    """Takes whatever is JSON."""

    model_config = ConfigDict(strict=True)


@settings(max_examples=200)
@given(_damaged())
@example(b"[" * 100_000)
@example(b'{"a":' * 20_000)
@example(b"9" * 60_000)
@example(b"1e99999999")
@example(b'"' + b'\\"' * 30_000 + b"[" * 33)
@example(b'["' + b"[" * 40 + b"\\")
def test_a_body_is_read_as_json_does_or_refused_by_name(raw: bytes) -> None:
    """No body makes anything but an answer or an error of ours, and what is read is what Python's json reads."""
    request = Request.from_values(method="POST", data=raw, content_type="application/json", environ_base={})
    with suppress(Malformed, Invalid):
        read = read_body(request, Anything, _BODIES).root
        assert repr(read) == repr(json.loads(raw))
        assert _depth(read) <= MAX_DEPTH


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def test_the_fast_look_is_one() -> None:
    """What clients send does pass it: else it proves nothing."""
    assert _is_plain(b'{"items": [{"goods_id": "1", "quantity": 2}], "receiver": {"name": "a: \xc3\xa9"}}')
    batch = [{"order_id": "1", "items": [{"goods_id": "2", "quantity": 3}]}] * 100  # as order asks stock for
    assert _is_plain(json.dumps({"tx_id": "1", "orders": batch}).encode())
