"""A TCP proxy between a service and a server, which cuts, holds or refuses connections when it is told to."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

_Watch = Callable[[bytes], str]
"""Sees what the client sends; says ``pass``, ``cut before`` (the server never gets it) or ``cut after``."""


class Proxy:
    """Forwards to the server at `url`; `url` of this object leads here."""

    def __init__(self, url: str) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._parts = urlsplit(url)
        self.lead_to(url)
        self._watch: _Watch = lambda _: "pass"
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._held = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._listen()

    @property
    def url(self) -> str:
        """The server's URL, with the proxy in its place."""
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}{'@' if user else ''}127.0.0.1:{self._port}"))

    def lead_to(self, url: str) -> None:
        """Have new connections forwarded to another server; those there are stay where they are."""
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 3306)

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def watch(self, watch: _Watch) -> None:
        """Have every packet of clients seen."""
        self._watch = watch

    def hold(self) -> None:
        """Let nothing through to clients any more, and tell them nothing."""
        self._held = True

    def cut(self) -> None:
        """Cut every connection there is."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()

    def go_down(self) -> None:
        """Refuse connections and cut those there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def come_back(self) -> None:
        """Accept connections again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listen()

    def close(self) -> None:
        """Refuse and cut everything."""
        self.go_down()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                pair = _Pair(client, socket.create_connection(self._server))
            except OSError:
                return
            with self._lock:
                self._pairs.append(pair)
            threading.Thread(target=self._up, args=(pair,), daemon=True).start()
            threading.Thread(target=pair.forward_down, daemon=True).start()

    def _up(self, pair: "_Pair") -> None:
        with suppress(OSError):
            while data := pair.client.recv(65536):
                if self._held:
                    continue
                verdict = self._watch(data)
                if verdict == "cut before":
                    break
                pair.muted = verdict == "cut after"
                pair.upstream.sendall(data)
                if pair.muted:
                    pair.answered.wait(5)
                    break
        pair.close()


class _Pair:
    """A client's connection and ours to the server in its name."""

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.client, self.upstream = client, upstream
        self.muted = False
        self.answered = threading.Event()
        """The server has answered something that the client does not get."""

    def forward_down(self) -> None:
        with suppress(OSError):
            while data := self.upstream.recv(65536):
                if self.muted:
                    self.answered.set()
                else:
                    self.client.sendall(data)
        self.close()

    def close(self) -> None:
        for one in (self.client, self.upstream):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
