"""A message's body for people."""

import pytest

from console.service.bodies import MOST_HEX, MOST_TEXT, Kind, body_of


def test_json_is_formatted_and_shown_as_it_came() -> None:
    """The numbers that formatting may write otherwise are there as they came."""
    body = body_of('{"id": 1.10, "name": "\u00e9<b>"}'.encode())
    assert body.kind is Kind.JSON
    assert body.text == '{\n  "id": 1.1,\n  "name": "\u00e9<b>"\n}'
    assert body.raw == '{"id": 1.10, "name": "\u00e9<b>"}'
    assert body.is_whole


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"", Kind.EMPTY),
        (b"plain\ttext\n", Kind.TEXT),
        (b'{"a": 1, "a": 2}', Kind.TEXT),
        (b"[" * 20_000, Kind.TEXT),
        (b"[" * 500 + b"]" * 500, Kind.TEXT),
        (b"1" * 5000, Kind.TEXT),
        (b"a\x00b", Kind.HEX),
        (b"\xff\xfe", Kind.HEX),
    ],
)
def test_what_is_no_json_or_no_text_is_shown_as_what_it_is(octets: bytes, kind: Kind) -> None:
    """A name that comes twice hides none of its values; what would grow without bound stays as it is."""
    body = body_of(octets)
    assert (body.kind, body.size, body.is_whole) == (kind, len(octets), True)


def test_what_would_not_be_seen_is_written_by_its_number() -> None:
    """Nothing turns the direction of what is shown, and nothing hides in it."""
    assert body_of('{"a": "\u202eb\u200b"}'.encode()).text == '{\n  "a": "\\u202eb\\u200b"\n}'
    assert body_of("x\u2028y".encode()).text == "x\\u2028y"


def test_hex_has_offsets_bytes_and_what_is_visible() -> None:
    """Sixteen bytes a line."""
    assert body_of(b"\x00AB<" + bytes(13)).text.splitlines() == [
        "00000000  00 41 42 3c 00 00 00 00 00 00 00 00 00 00 00 00  .AB<............",
        "00000010  00                                               .",
    ]


def test_what_is_too_long_is_cut_and_says_so() -> None:
    """Text at a whole character, hex at a whole line."""
    text = body_of("\u20ac".encode() * MOST_TEXT)
    assert (text.kind, text.is_whole) == (Kind.TEXT, False)
    assert MOST_TEXT - 3 < text.shown <= MOST_TEXT
    assert set(text.text) == {"\u20ac"}
    octets = body_of(b"\xff" * (MOST_TEXT + 1))
    assert (octets.kind, octets.shown, octets.size) == (Kind.HEX, MOST_HEX, MOST_TEXT + 1)
    assert body_of(b"x" * MOST_TEXT + b"\xff").kind is Kind.TEXT
    assert body_of(b"{" + b" " * MOST_TEXT + b"}").kind is Kind.TEXT
