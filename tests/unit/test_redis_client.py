"""Waits for Redis: for a connection, for an answer, for another thread's question; each has its deadline."""

import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from common.errors import RedisUnavailable
from common.limits import SharedLimiter
from common.redis_client import CONNECTIONS, RedisClient

_GREETING = b"%1\r\n+proto\r\n:3\r\n"  # what HELLO 3 is answered: https://redis.io/docs/latest/commands/hello/


class Stub(socketserver.ThreadingTCPServer):
    """Answers what a client says first, and PING as slowly as it is told; nothing at all once it hangs."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.url = f"redis://127.0.0.1:{self.server_address[1]}"
        self.hangs = False
        self.answers = {b"HELLO": _GREETING, b"PING": b"+PONG\r\n"}
        self.connections = 0
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Session(socketserver.StreamRequestHandler):
    server: Stub

    def handle(self) -> None:
        self.server.connections += 1
        if self.server.hangs:
            self.server.over.wait(30)
            return
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            if words[0] == b"PING":
                self.server.over.wait(0.01)
            self.wfile.write(self.server.answers.get(words[0], b"+OK\r\n"))

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:length]


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.over.set()
    stub.shutdown()
    stub.server_close()


def test_many_threads_share_few_connections(stub: Stub) -> None:
    """Who finds none free waits for one: a busy process is no reason to take Redis for down."""
    client = RedisClient(stub.url, timeout=30.0)
    with ThreadPoolExecutor(300) as pool, structlog.testing.capture_logs() as logs:
        list(pool.map(lambda _: client.ping(), range(600)))
    client.close()
    assert logs == []
    assert stub.connections <= CONNECTIONS


def test_a_count_that_hangs_is_not_repeated_by_all_who_wait(stub: Stub) -> None:
    """Orders of one user, while Redis takes connections and says nothing: each is counted in the process soon."""
    stub.hangs = True
    client = RedisClient(stub.url)
    limiter, users = SharedLimiter(client), 60
    together = threading.Barrier(users)

    def hit(_: int) -> int:
        together.wait(30)
        return limiter.hit("50/hour", "place", "ann")

    with ThreadPoolExecutor(users) as pool:
        started = time.monotonic()
        waits = list(pool.map(hit, range(users)))
        took = time.monotonic() - started
    client.close()
    assert waits.count(0) == 50
    assert took < 5  # one after the other it would be 15 s


def test_a_count_that_another_program_wrote_fails_no_order(stub: Stub) -> None:
    """It is no number: the process counts alone, and Redis is asked on about everything else."""
    stub.answers[b"GET"] = b"$3\r\nabc\r\n"
    client = RedisClient(stub.url)
    assert SharedLimiter(client).hit("10000/second", "place", "ann") == 0
    client.ping()
    client.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"?\r\n", b"*x\r\n", b"$-7\r\n"])
def test_what_is_no_redis_is_down(stub: Stub, answer: bytes) -> None:
    """Another server behind the URL: what it says is no answer, and no error of its own kind gets out."""
    stub.answers[b"PING"] = answer
    client = RedisClient(stub.url)
    with pytest.raises(RedisUnavailable):
        client.ping()
    client.close()
