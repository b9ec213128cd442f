"""The user service's public keys, as the other services have them: fetched seldom, and not lost while user is down."""

import http.server
import os
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from common.errors import PeerUnavailable
from common.jwk import FRESH
from common.kept_keys import KEPT_FOR, LARGEST
from common.user_keys import PATH, REFETCH, UserKeys


def jwk(kid: str, byte: int = 1, **more: Any) -> dict[str, Any]:
    x = urlsafe_b64encode(bytes([byte]) * 32).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x} | more


class User:
    """A user service that has keys, or does not answer; its clock is the test's."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.keys = [jwk("a")]
        self.down = False
        self.asked = 0
        self.now = 1000.0
        self.wall = 5000.0
        patch.setattr("common.user_keys.time.monotonic", lambda: self.now)
        patch.setattr("common.user_keys.time.time", lambda: self.wall)  # of the one module time

    def fetch(self) -> Any:
        self.asked += 1
        if self.down:
            raise PeerUnavailable("down")
        return {"keys": self.keys}


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> User:
    return User(monkeypatch)


def test_keys_are_fetched_with_the_first_token_and_remembered(user: User) -> None:
    """One question for all tokens of a key."""
    keys = UserKeys("http://user", fetch=user.fetch)
    assert user.asked == 0
    assert [keys.find("a") for _ in range(3)] == [b"\x01" * 32] * 3
    assert user.asked == 1


def test_an_unknown_name_is_asked_for_once_a_minute(user: User) -> None:
    """However many tokens name keys that are none; a key that came meanwhile is found in the next minute."""
    keys = UserKeys("http://user", fetch=user.fetch)
    assert [keys.find(f"none-{i}") for i in range(50)] == [None] * 50
    assert user.asked == 1
    user.keys.append(jwk("b", 2))
    user.now += REFETCH - 1
    assert keys.find("b") is None
    user.now += 1
    assert keys.find("b") == b"\x02" * 32
    assert user.asked == 2


def test_known_keys_go_on_while_user_is_down(user: User) -> None:
    """Long after they should have been asked for again; a key that is not known is a 503 then, no 401."""
    keys = UserKeys("http://user", fetch=user.fetch)
    keys.find("a")
    user.down = True
    user.now += 100 * FRESH
    assert keys.find("a") == b"\x01" * 32
    user.now += REFETCH
    with pytest.raises(PeerUnavailable):
        keys.find("b")
    user.down = False
    user.keys.append(jwk("b", 2))
    user.now += 1
    assert keys.find("b") == b"\x02" * 32


def test_a_user_that_is_down_is_asked_once_a_second(user: User) -> None:
    """A service that starts before it has its keys a second after it answers; until then each token is a 503."""
    user.down = True
    keys = UserKeys("http://user", fetch=user.fetch)
    for _ in range(20):
        with pytest.raises(PeerUnavailable):
            keys.find("a")
    assert user.asked == 1
    user.down = False
    user.now += 1
    assert keys.find("a") is not None


def test_who_waits_for_another_one_s_question_waits_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that drips its answer holds up one request; who asks meanwhile is told to try again."""
    monkeypatch.setattr("common.user_keys._PATIENCE", 0.01)
    is_asked, goes_on = threading.Event(), threading.Event()

    def drip() -> Any:
        is_asked.set()
        goes_on.wait(30)
        return {"keys": [jwk("a")]}

    keys = UserKeys("http://user", fetch=drip)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keys.find, "a")
        assert is_asked.wait(10)
        try:
            with pytest.raises(PeerUnavailable):
                pool.submit(keys.find, "a").result(5)
        finally:
            goes_on.set()
        assert first.result(10) == b"\x01" * 32


def test_a_key_that_was_withdrawn_goes(user: User) -> None:
    """After `FRESH` the keys are asked for again, though all tokens name known ones."""
    keys = UserKeys("http://user", fetch=user.fetch)
    keys.find("a")
    user.keys = [jwk("b", 2)]
    user.now += FRESH
    assert keys.find("a") is None


def test_a_key_is_not_taken_after_its_end_though_user_is_down(user: User) -> None:
    """`exp` of a key tells when its last token ends: tokens of it that come after that are replayed, or forged."""
    user.keys = [jwk("a", exp=5100)]
    keys = UserKeys("http://user", fetch=user.fetch)
    assert keys.find("a") is not None
    user.down = True
    user.wall = 5100
    assert keys.find("a") is None


class TestKept:
    """What user told is in a file for the next process, which may start while user is down."""

    @pytest.fixture
    def file(self, user: User, tmp_path: Path) -> Path:
        """Return the file of a process that user told its key `a`; user is down now."""
        path = tmp_path / "run" / "keys.json"
        user.keys = [jwk("a"), jwk("b", exp=5100)]
        assert UserKeys("http://user", fetch=user.fetch, file=path).find("a") == b"\x01" * 32
        user.down = True
        return path

    def test_a_start_while_user_is_down_has_them(self, user: User, file: Path) -> None:
        """After user was asked; none of another name, and each until its own end."""
        keys = UserKeys("http://user", fetch=user.fetch, file=file)
        assert (keys.find("a"), keys.find("b"), keys.told) == (b"\x01" * 32, b"\x01" * 32, False)
        assert user.asked == 2
        with pytest.raises(PeerUnavailable):
            keys.find("c")
        user.wall = 5100
        assert keys.find("a") is not None
        with pytest.raises(PeerUnavailable):
            keys.find("b")

    def test_a_key_that_was_withdrawn_goes_as_soon_as_user_can_be_asked(self, user: User, file: Path) -> None:
        """A second after user answers at the latest; the file then has what user has, and a start has no more."""
        keys = UserKeys("http://user", fetch=user.fetch, file=file)
        assert keys.find("a") is not None
        user.keys, user.down = [jwk("c", 3)], False
        user.now += 1
        assert (keys.find("a"), keys.find("c"), keys.told) == (None, b"\x03" * 32, True)
        user.down = True
        with pytest.raises(PeerUnavailable):
            UserKeys("http://user", fetch=user.fetch, file=file).find("a")

    def test_user_comes_first(self, user: User, file: Path) -> None:
        """While user answers no file is read."""
        user.keys, user.down = [jwk("c", 3)], False
        assert UserKeys("http://user", fetch=user.fetch, file=file).find("a") is None

    def test_they_end_in_a_process_that_goes_on(self, user: User, file: Path) -> None:
        """`KEPT_FOR` after user told them, though the process took them before that."""
        keys = UserKeys("http://user", fetch=user.fetch, file=file)
        user.wall += KEPT_FOR - 1
        assert keys.find("a") is not None
        user.wall += 1
        with pytest.raises(PeerUnavailable):
            keys.find("a")

    def test_only_its_user_may_write_it(self, file: Path) -> None:
        """Nor read it; and nothing is left beside it."""
        assert file.stat().st_mode & 0o777 == 0o600
        assert list(file.parent.iterdir()) == [file]

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda file: file.write_bytes(b"{"), "unexpected end"),
            (lambda file: file.write_bytes(b"[]"), "list indices"),
            (lambda file: file.write_bytes(b'{"told_at":5000,"document":{}}'), "no set of keys"),
            (lambda file: file.write_bytes(file.read_bytes() + b" " * LARGEST), f"more than {LARGEST} bytes"),
            (lambda file: file.chmod(0o620), "others than this process's user may write it"),
            (lambda file: (file.rename(file.with_name("x")), file.symlink_to(file.with_name("x"))), "symbolic"),
        ],
    )
    def test_a_file_that_is_no_good(self, user: User, file: Path, spoil: Callable[[Path], Any], why: str) -> None:
        """It is passed over: 503 as without one; one line of the log says why."""
        spoil(file)
        keys = UserKeys("http://user", fetch=user.fetch, file=file)
        with capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(PeerUnavailable):
                    keys.find("a")
        (told,) = (line for line in logs if line["event"] == "the kept keys of user are not taken")
        assert why in told["reason"]

    @pytest.mark.parametrize("by", [KEPT_FOR, -61.0])
    def test_a_file_that_is_old(self, user: User, file: Path, by: float) -> None:
        """Older than any token that user may have made before it went; or of a clock that went back since."""
        user.wall += by
        with capture_logs() as logs, pytest.raises(PeerUnavailable):
            UserKeys("http://user", fetch=user.fetch, file=file).find("a")
        assert f"it is {by:.0f} s old; at most {KEPT_FOR:.0f} are taken" in {line.get("reason") for line in logs}

    def test_keys_that_can_not_be_kept(self, user: User, tmp_path: Path) -> None:
        """They verify all the same, and the log says so; without a file there is nothing to say."""
        (tmp_path / "file").touch()
        user.down = False
        with capture_logs() as logs:
            for file in (tmp_path / "file" / "keys.json", None):
                assert UserKeys("http://user", fetch=user.fetch, file=file).find("a") is not None
        assert [line["event"] for line in logs] == ["the keys of user are not kept"]

    def test_what_a_process_left_that_died_over_it(self, user: User, file: Path) -> None:
        """A draft of another process of this number is no hindrance."""
        file.with_suffix(f".{os.getpid()}.tmp").touch(0o644)
        user.keys, user.down = [jwk("c", 3)], False
        assert UserKeys("http://user", fetch=user.fetch, file=file).find("c") is not None
        assert b'"c"' in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "listed",
    [
        *(
            jwk("a") | {name: value}
            for name, value in (("kty", "oct"), ("crv", "X25519"), ("use", "enc"), ("x", "AAAA"))
        ),
        *(jwk("a") | {name: value} for name, value in (("x", None), ("x", "ä"), ("kid", 7), ("exp", "soon"))),
        "a",
        None,
        {},
    ],
)
def test_what_is_no_key_of_ours_is_left_out(user: User, listed: Any) -> None:
    """Of another kind, curve, use or length: the others are read all the same."""
    user.keys = [listed, jwk("b", 2)]
    keys = UserKeys("http://user", fetch=user.fetch)
    assert keys.find("b") == b"\x02" * 32
    assert keys.find("a") is None


@pytest.mark.parametrize("document", [None, [], {}, {"keys": 7}, "keys"])
def test_a_document_that_is_none_is_no_answer(user: User, document: Any) -> None:
    """And takes no known keys away."""
    keys = UserKeys("http://user", fetch=user.fetch)
    keys.find("a")
    keys._fetch = lambda: document
    user.now += FRESH
    assert keys.find("a") is not None
    with pytest.raises(PeerUnavailable):
        keys.find("b")


def test_one_thread_asks_and_the_others_have_its_answer() -> None:
    """Tokens that come at once make one question."""
    asked = threading.Semaphore(0)
    go = threading.Event()

    def fetch() -> Any:
        asked.release()
        assert go.wait(10)
        return {"keys": [jwk("a")]}

    keys = UserKeys("http://user", fetch=fetch)
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(keys.find, "a") for _ in range(8)]
        assert asked.acquire(timeout=10)
        go.set()
        assert {one.result(10) for one in found} == {b"\x01" * 32}
    assert not asked.acquire(blocking=False)


def test_threads_do_not_wait_for_a_user_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One may hang in the question; the others are told at once, or all threads of a service would hang in it."""
    monkeypatch.setattr("common.user_keys._AGAIN_AFTER", 0.0)
    asked, go = threading.Event(), threading.Event()
    answers: list[Callable[[], Any]] = [_raise, lambda: asked.set() or (go.wait(10) and _raise())]

    def fetch() -> Any:
        return answers.pop(0)()

    keys = UserKeys("http://user", fetch=fetch)
    with pytest.raises(PeerUnavailable):
        keys.find("a")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(keys.find, "a")
        assert asked.wait(10)
        with pytest.raises(PeerUnavailable):
            keys.find("b")
        assert not hanging.done()
        go.set()
        with pytest.raises(PeerUnavailable):
            hanging.result(10)


def _raise() -> Any:
    raise PeerUnavailable


@pytest.fixture
def server() -> Iterator[Any]:
    """Serve over HTTP whatever a test puts there."""
    said: dict[str, Any] = {"status": 200, "body": orjson.dumps({"keys": [jwk("a")]}), "paths": []}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said["paths"].append(self.path)
            self.send_response(said["status"])
            self.send_header("Content-Length", str(len(said["body"])))
            self.end_headers()
            self.wfile.write(said["body"])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        said["url"] = f"http://127.0.0.1:{serving.server_address[1]}"
        yield said
        serving.shutdown()
        thread.join()


def test_the_first_instance_that_answers_tells(server: Any) -> None:
    """Past those that refuse connections; over real HTTP."""
    keys = UserKeys(f"http://127.0.0.1:1, {server['url']}/")
    assert keys.find("a") == b"\x01" * 32
    assert server["paths"] == [PATH]


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"{}"), (404, b"{}"), (302, b""), (200, b"{"), (200, b" " * 70_000)]
)
def test_other_answers_are_none(server: Any, status: int, body: bytes) -> None:
    """Errors, redirects, no JSON, too much of it."""
    server |= {"status": status, "body": body}
    with pytest.raises(PeerUnavailable):
        UserKeys(server["url"]).find("a")


def test_a_silent_user_is_waited_for_a_second_and_no_longer() -> None:
    """An address at which nothing is ever answered costs one request one second."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PeerUnavailable):
            UserKeys(f"http://127.0.0.1:{silent.getsockname()[1]}").find("a")
    assert time.monotonic() - began < 10
