"""Story files: what is in one comes out again, and what was changed is told."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.story import StoryError, read_file, verify, write_file
from console.story import file as story_file
from ops.cli import main
from tests.stories import entry, half, order_row, told

NASTY = "</script><script>alert(1)</script><!-- ]]> & \" ' \u2028 \ud800 \x1b[31m"
GOLDEN = "6ce2e0292e4cc33f677bf72a98a4c241d9072c1e137194fffc6638d239c224fe"
"""Of the file that `text` writes. A change of how stories are told or drawn after a release raises `DRAWING`."""


def text(**order: object) -> str:
    """Write the file of an order that was cancelled, with everything nasty that could be in it."""
    return write_file(
        told(
            entry("order requested", "order", expires_at="2026-05-28T20:41:40.000Z"),
            half(after=1, state="done"),
            entry("stock deducted", "stock", 4, items=[{"goods_id": "1", "quantity": 2}], note=NASTY),
            entry("local transaction committed", "order", 6, tx_id="77", transaction="placing", order_written=True),
            entry("half message resolved: rollback", "broker", 8, message_id="M1", resolution="rollback"),
            entry(NASTY, "order", 900),
            entry("deduction", "coupon", None, known=False, reason=NASTY),
            order=order_row(**order),
        )
    )


class Seen(HTMLParser):
    """Collects the elements of a page, and what they would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append(dict(attrs).get("type"))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "srcset", "href", "data", "action", "background"} and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on") or name == "style":
                self.handlers.append(f"{tag} {name}")


def test_what_is_written_is_read_again() -> None:
    """The same story comes out, and the SHA-256 is that of its data."""
    page = text()
    found = verify(page)
    assert write_file(found.story) == page
    assert read_file(page) == found.story
    assert found.drawn_alike
    (data,) = re.findall('id="story-data">(.*)</script>', page)
    assert found.sha256 == hashlib.sha256(data.encode()).hexdigest()
    assert json.loads(data)["entries"][2]["evidence"]["note"] == NASTY


def test_a_file_runs_nothing_and_loads_nothing() -> None:
    """Nor could it, were there a hole: its policy allows its own style and nothing else."""
    page = text()
    seen = Seen(page)
    assert seen.scripts == ["application/json"]
    assert (seen.loads, seen.handlers) == ([], [])
    assert not {"img", "link", "iframe", "object", "base", "form"} & set(seen.tags)
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in page
    assert {f"step-{number}" for number in range(1, 8)} <= set(seen.ids)


def test_the_receiver_is_not_in_a_file() -> None:
    """It is passed on to others."""
    assert "Ann Example" not in text(receiver={"name": "Ann Example", "phone": "1", "address": "2"})


def _replaced(page: str, old: str, new: str) -> str:
    assert old in page
    return page.replace(old, new, 1)


CHANGES = {
    "its data": lambda page: _replaced(page, '"quantity":2', '"quantity":3'),
    "its sentence": lambda page: _replaced(page, "not paid yet", "paid"),
    "its picture": lambda page: _replaced(page, "stroke-dasharray", "data-x"),
    "its witnesses": lambda page: _replaced(page, "holds its part", "holds nothing"),
    "its evidence": lambda page: _replaced(page, "&#34;known&#34;: true", "&#34;known&#34;: false"),
    "its style": lambda page: _replaced(page, "<style>", "<style>body { display: none }"),
    "its policy": lambda page: _replaced(page, "default-src 'none'", "default-src *"),
    "a script more": lambda page: _replaced(page, "</body>", "<script>alert(1)</script></body>"),
    "what follows it": lambda page: page + "<p>and so on",
    "another block of data": lambda page: _replaced(
        page, "<main>", '<main><script type="application/json" id="story-data">{}</script>'
    ),
    "a blank in its data": lambda page: _resigned(page, '{"schema"', '{ "schema"'),
    "another order's data": lambda page: _resigned(page, '"quantity":2', '"quantity":3'),
    "no SHA-256": lambda page: _replaced(page, "story-sha256", "story-sha"),
    "all of it": lambda _: "",
}  # fmt: skip


def _resigned(page: str, old: str, new: str) -> str:
    """Change the data, and the SHA-256 with it, but nothing else."""
    page = _replaced(page, old, new)
    (data,) = re.findall('id="story-data">(.*)</script>', page)
    return re.sub(r'(story-sha256">)[0-9a-f]{64}', r"\g<1>" + hashlib.sha256(data.encode()).hexdigest(), page)


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_was_changed_is_told(what: str) -> None:
    """Whatever it was, and though its data may bear its SHA-256: the picture must be that of the data."""
    page = CHANGES[what](text())
    with pytest.raises(StoryError, match=r"was changed|no story file"):
        verify(page)


@pytest.mark.parametrize(
    "data",
    ["[" * 100_000, "{}", "[]", '{"schema":"orders-story/2"}', '{"schema":"orders-story/1"}', "1e999", "x",
     '{"schema":"orders-story/1","drawing":1,"order_id":"1","now_ms":-1,"order":null,"entries":[]}',
     '{"schema":"orders-story/1","drawing":1,"order_id":1,"now_ms":1,"order":null,"entries":[]}',
     '{"schema":"orders-story/1","drawing":1,"order_id":"1","now_ms":1,"order":null,"entries":[NaN]}'],
)  # fmt: skip
def test_data_that_is_no_story_is_refused(data: str) -> None:
    """With an error of ours, not one of a parser's."""
    digest = hashlib.sha256(data.encode()).hexdigest()
    with pytest.raises(StoryError):
        verify(
            f'<code id="story-sha256">{digest}</code><script type="application/json" id="story-data">{data}</script>'
        )


def test_a_file_that_another_release_drew_has_its_data_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture is not ours, and is not said to be wrong for that."""
    page = text()
    monkeypatch.setattr(story_file, "DRAWING", story_file.DRAWING + 1)
    assert not verify(_replaced(page, "not paid yet", "unpaid so far")).drawn_alike
    with pytest.raises(StoryError, match="was changed"):
        verify(_replaced(page, '"quantity":2', '"quantity":3'))


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger is neither written nor read."""
    page = text()
    monkeypatch.setattr(story_file, "LARGEST", len(page.encode()) - 1)
    with pytest.raises(StoryError, match="at most"):
        text()
    with pytest.raises(StoryError, match="at most"):
        verify(page)


def test_the_longest_timeline_that_is_told_is_drawn_and_kept() -> None:
    """Of 10,000 entries, each a half message or a time of its own: work grows with their number, not its square."""
    halves = [half(after=2_000 * number, message_id=f"M{number}", tx_id=str(number)) for number in range(5_000)]
    others = [entry("x", "order", 10_000_000 + number) for number in range(5_000)]
    story = told(*halves, *others, now=30_000_000)
    assert (len(story.steps), len(story.gaps)) == (10_000, 5_000)
    assert len(write_file(story)) < story_file.LARGEST


def test_what_no_json_can_have_is_refused() -> None:
    """It could not be read again."""
    with pytest.raises(StoryError, match="JSON"):
        write_file(told(entry("x", "order", amount=float("nan"))))


def test_files_are_written_as_they_were() -> None:
    """A file of before is drawn as it was, byte by byte: else it would count as changed."""
    assert hashlib.sha256(text().encode()).hexdigest() == GOLDEN


def test_the_command_tells_intact_files_from_changed_ones(tmp_path: Path) -> None:
    """Each by name, and the exit code says whether all are intact."""
    intact, changed, binary = (tmp_path / name for name in ("intact.html", "changed.html", "binary.html"))
    intact.write_text(text(), encoding="utf-8", newline="")
    changed.write_text(CHANGES["its data"](text()), encoding="utf-8", newline="")
    binary.write_bytes(b"\xff\x00")
    good = CliRunner().invoke(main, ["story", "verify", str(intact)])
    assert (good.exit_code, "intact, order 385194652103344128" in good.output) == (0, True)
    bad = CliRunner().invoke(main, ["story", "verify", str(changed), str(intact), str(binary)])
    assert bad.exit_code == 1
    assert f"{changed}: The file was changed" in bad.output
    assert f"{intact}: intact" in bad.output
    assert f"{binary}: This is no story file" in bad.output


def test_the_command_reads_no_more_than_a_file_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is."""
    large = tmp_path / "large.html"
    large.write_text(text(), encoding="utf-8", newline="")
    monkeypatch.setattr("ops.commands.story.LARGEST", 100)
    found = CliRunner().invoke(main, ["story", "verify", str(large)])
    assert (found.exit_code, "at most 100 bytes" in found.output) == (1, True)
