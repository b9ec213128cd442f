"""Story files, opened by the console: what is intact is shown as it was told, what is not is refused in words."""

import hashlib
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, stream_encode_multipart

from common.process import Service
from console.pages import story_files
from console.story import Verified, write_file
from console.story import file as file_of_stories
from console.story.file import LARGEST
from tests.stories import entry, half, order_row, told
from tests.unit.console_site import Browser, running, token

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


def saved() -> str:
    """Return a story file of an order that a process died in, with markup in its evidence."""
    return write_file(told(half(), entry(HOSTILE, HOSTILE, None, note=HOSTILE), order=order_row()))


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("console")) as service:
        yield service


@pytest.fixture
def alice(console: Service) -> Browser:
    """Log in a user who is no admin."""
    return Browser(console, token("alice", ("orders",)))


def send(browser: Browser, *files: bytes, **fields: Any) -> TestResponse:
    """Send the page's form with files."""
    csrf = CSRF.search(browser.get("/story-files").text)
    assert csrf is not None
    given = {"csrf": csrf[1], "story": [FileStorage(BytesIO(file), "story.html") for file in files], **fields}
    body, _, boundary = stream_encode_multipart(MultiDict(given), use_tempfile=False)  # a temporary one stays open
    media_type = f"multipart/form-data; boundary={boundary}"
    return browser.client.post("/story-files", data=body, content_type=media_type, headers={"Accept": "text/html"})


def test_an_intact_file_is_shown_as_it_was_told(alice: Browser) -> None:
    """Its sentence, picture, witnesses and evidence, and the SHA-256 to compare; markup in it stays text."""
    file = saved()
    page = send(alice, file.encode())
    assert page.status_code == 200
    for part in (r'<code id="story-sha256">([0-9a-f]{64})</code>', r'<p class="[^"]*sentence[^"]*">\s*([^<]+?)\s*<'):
        found = re.search(part, file)
        assert found is not None
        assert found[1] in page.text
    assert "<svg" in page.text
    assert "alert(1)" in page.text
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text


def test_what_utf_8_can_not_have_is_shown_as_a_question_mark(alice: Browser) -> None:
    """Data that another release drew may hold half a surrogate pair, which JSON can."""
    data = file_of_stories._data(told(half(), entry("a\ud800b", "stock", None), order=order_row()), 1)
    sha256 = hashlib.sha256(data.encode()).hexdigest()
    script = f'<script type="application/json" id="story-data">{data}</script>'
    page = send(alice, f'{script}<code id="story-sha256">{sha256}</code>'.encode())
    assert page.status_code == 200
    assert sha256 in page.text
    assert "a?b" in page.text


def test_what_was_changed_is_refused(alice: Browser) -> None:
    """One letter of its words, or of its data; and nothing of it is shown."""
    file = saved()
    for changed in (file.replace("order_rollback", "order_timeout"), file.replace("<svg", "<svg x"), file + " "):
        page = send(alice, changed.encode())
        assert page.status_code == 422
        assert "was changed" in page.text
        assert "<svg" not in page.text


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ((), 422, "Choose a file first."),
        ((b"",), 422, "Choose a file first."),
        ((b"\xff\xfe\x00",), 422, "it is not text"),
        ((b"<!doctype html><title>other</title>",), 422, "This is no story file"),
        ((b"a", b"b"), 400, "it takes one"),
        ((b"x" * 70_000,), 422, "This is no story file"),  # larger than any other body may be
        ((b"x" * (LARGEST + 1),), 422, "at most 20,971,520 bytes"),
        ((b"x" * (LARGEST + 10_000),), 413, ""),
    ],
)
def test_what_is_none_is_refused(alice: Browser, files: tuple[bytes, ...], status: int, words: str) -> None:
    """With why, also what is larger than a story may be."""
    page = send(alice, *files)
    assert page.status_code == status
    assert words in page.text


def test_no_other_form_may_be_as_large(alice: Browser) -> None:
    """Than `max_body` says."""
    assert alice.post("/orders/7/cancel", {"csrf": "x" * 70_000}).status_code == 413


def test_one_file_is_read_at_once(alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further one is refused, unread, and taken once the first is answered."""
    further = []

    def verify(text: str) -> Verified:
        if not further:
            further.append(send(alice, b"x"))
        return file_of_stories.verify(text)

    monkeypatch.setattr(story_files, "verify", verify)
    assert send(alice, saved().encode()).status_code == 200
    assert [one.status_code for one in further] == [503]
    assert send(alice, saved().encode()).status_code == 200


def test_only_forms_of_ones_own_are_taken(alice: Browser) -> None:
    """None without the page's proof, none of another media type, none that can't be read; and nobody is let in."""
    assert send(alice, saved().encode(), csrf="0" * 64).status_code == 403
    assert alice.post("/story-files", {"story": "x"}).status_code == 415
    cut = {"Content-Type": "multipart/form-data; boundary=b", "Accept": "text/html"}
    assert alice.client.post("/story-files", data=b"--b\r\nno end", headers=cut).status_code == 400
    many = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 600 + b"--b--\r\n"
    assert alice.client.post("/story-files", data=many, headers=cut).status_code == 400


def test_who_has_not_logged_in_is_sent_to_the_login(console: Service) -> None:
    """Before the file is looked at."""
    stranger = Browser(console)
    answer = stranger.client.post(
        "/story-files", data={"story": (BytesIO(b"x"), "s.html")}, content_type="multipart/form-data"
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login")
