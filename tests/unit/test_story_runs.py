"""Check-backs that say the same again are one row of the picture, and as many steps as ever."""

import re
from typing import Any

from console.story import draw
from console.story.file import write_file
from console.story.runs import runs_of
from tests.stories import entry, half, told

TIMES = "\u00d7"


def check(number: int, after: int | None, answer: str = "unknown", message_id: str = "M1") -> dict[str, Any]:
    event = f"check-back {number}: {answer}"
    return entry(event, "broker", after, message_id=message_id, check=number, answer=answer)


def words(picture: str) -> str:
    """Return what is to be read in a picture, its broken lines put together."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))


def test_equal_check_backs_are_one_row_each_with_its_evidence() -> None:
    """How many, from when to when; what lies between them is no gap of its own; each step is on the page."""
    asked = [check(number, 3_000 * number) for number in range(1, 13)]
    story = told(half(), *asked, check(13, 40_000, "rollback"), now=60_000)
    picture = draw(story)
    links = re.findall(r'href="#step-(\d+)" aria-label="([^"]*)"', picture)
    assert [number for number, _ in links] == ["1", "2", "14"]
    assert links[1][1].startswith(
        "Steps 2\u201313, 2026-05-28T20:26:43.000Z, broker to order: check-backs 1 to 12: how did"
    )
    assert links[1][1].endswith(f"({TIMES}12, from 20:26:43.000 to 20:27:16.000)")
    assert f"{TIMES}12, from 20:26:43.000 to 20:27:16.000" in words(picture)
    assert picture.count("nothing on record") == 2  # before the first of them, and after the last
    assert words(picture).count("+4.0 s") == 1  # the next row, since the last of them
    page = write_file(story)
    assert all(f'id="step-{number}"' in page for number in range(1, 15))
    assert all(f"check-back {number}: unknown" in page for number in range(1, 13))


def test_what_differs_or_has_something_between_is_drawn_apart() -> None:
    """Another answer, another half message, something in between, a time that is not known; one alone is as it was."""
    story = told(
        half(),
        half(message_id="M2", tx_id="78", after=1),
        check(1, 10),
        check(2, 20),
        check(3, 30, "commit"),
        check(1, 40, message_id="M2"),
        entry("stock deducted", "stock", 50, items=[{"goods_id": "1", "quantity": 2}]),
        check(2, 60, message_id="M2"),
        check(4, None),
        check(5, None),
    )
    runs = [[step.number for step in run.steps] for run in runs_of(story.steps)]
    assert runs == [[1], [2], [3, 4], [5], [6], [7], [8], [9, 10]]
    assert f"{TIMES}2, at times not known" in words(draw(story))
    assert "check-back 2: how did" in words(draw(story))
    assert "check-backs 1 to 2: how did" in words(draw(story))
