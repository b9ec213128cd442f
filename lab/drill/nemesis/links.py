"""TCP connections that can be cut, refused, slowed down, held up, or robbed of their answers while they are used.

One thread serves all links of a deployment. `lab.drill.proxy` looks at what is sent; here it does not matter.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

T = TypeVar("T")

_HOST = "127.0.0.1"
_CHUNK = 65536


class Link:
    """Listens on a port of its own and forwards to another one. Made by `Switchboard.link`."""

    def __init__(self, host: str, port: int) -> None:
        """Forward to `host`:`port`."""
        self.port = 0
        self.refuses = self.loses_answers = False
        self.delay = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self._place = (host, port)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        """Begin. Raise OSError."""
        self._server = await asyncio.start_server(self._serve, _HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection there is."""
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._turned_away(writer):
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._place)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, up_writer}
        if self._turned_away(*ends):  # it refuses since the connection was asked for, which nothing else has cut
            return
        self._ends |= ends
        pumps = [
            asyncio.ensure_future(self._pump(reader, up_writer, answers=False)),
            asyncio.ensure_future(self._pump(up_reader, writer, answers=True)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*pumps)
        self._ends -= ends

    def _turned_away(self, *ends: asyncio.StreamWriter) -> bool:
        """Cut these ends if the link refuses; return whether it does."""
        if self.refuses:
            for end in ends:
                end.transport.abort()
        return self.refuses

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                await asyncio.sleep(self.delay)
                await self.open.wait()
                if answers and self.loses_answers:
                    return
                sink.write(data)
                await sink.drain()


class Switchboard:
    """All links of one deployment."""

    def __init__(self) -> None:
        """No link yet."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="switchboard", daemon=True)
        self._links: dict[str, Link] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str, host: str, port: int) -> str:
        """Make a link to `host`:`port`; return where it listens, as `host:port`."""

        async def begin() -> Link:
            link = Link(host, port)
            await link.listen()
            return link

        self._links[name] = self._run(begin())
        return f"{_HOST}:{self._links[name].port}"

    def names(self) -> list[str]:
        """Return the names of the links."""
        return list(self._links)

    def cut(self, name: str) -> None:
        """Cut every connection of a link; new ones are accepted."""
        self._do(self._links[name].cut)

    @contextmanager
    def refused(self, name: str) -> Iterator[None]:
        """Refuse connections, and cut those there are."""
        link = self._links[name]
        self._set(link, refuses=True)
        self._do(link.cut)
        try:
            yield
        finally:
            self._set(link, refuses=False)

    @contextmanager
    def slowed(self, name: str, delay: float) -> Iterator[None]:
        """Let everything come so many seconds late."""
        link = self._links[name]
        self._set(link, delay=delay)
        try:
            yield
        finally:
            self._set(link, delay=0.0)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Let nothing through, and say nothing; what was held goes on afterwards."""
        link = self._links[name]
        self._do(link.open.clear)
        try:
            yield
        finally:
            self._do(link.open.set)

    @contextmanager
    def answers_lost(self, name: str) -> Iterator[None]:
        """Let every request through, and cut the connection when its answer comes."""
        link = self._links[name]
        self._set(link, loses_answers=True)
        try:
            yield
        finally:
            self._set(link, loses_answers=False)

    def _set(self, link: Link, **how: float) -> None:
        def change() -> None:
            for name, value in how.items():
                setattr(link, name, value)

        self._do(change)

    def _do(self, change: Callable[[], object]) -> None:
        async def run() -> None:
            change()

        self._run(run())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _end(self) -> None:
        for link in self._links.values():
            link.close()
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
