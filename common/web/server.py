"""Runs an application in this one process until SIGTERM, SIGINT or SIGHUP, see docs/decisions/."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from flask import Flask

from common.wake import Wake

# Read by granian's allocator (https://jemalloc.net/jemalloc.3.html#tuning) when it is loaded. Its caches, one for each
# thread that a request waits in, took 37 MB with 256 of them and made nothing faster (docs/performance.md).
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,tcache:false")

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.mt import MTServer

_GRACE = 10.0  # seconds for requests in flight when the process is told to stop
_HEADERS_WITHIN = 60_000  # milliseconds: for sending a request's head, and how long a kept connection may idle
_HEAD_BYTES = 64 * 1024


class _OneProcess(MTServer):
    """Granian's threaded server; it is meant for Python without a GIL, and works with one as well."""

    share_port = False
    ending: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.main_loop_interrupt: Any = Wake()

    def _check_gil(self) -> None:
        """Let the GIL be."""

    def _init_shared_socket(self) -> None:
        """Listen without SO_REUSEPORT, so that a second process on this address fails, unless it is one of ours."""
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        listener = socket.create_server(
            (self.bind_addr, self.bind_port), family=family, backlog=self.backlog, reuse_port=self.share_port
        )
        # Inherited by what it accepts (Linux). An answer goes out as head and body: without this, the body waits until
        # the client has acknowledged the head, which it puts off for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Its stub lacks the constructor, which granian itself uses in granian/net.py: (fd, is a Unix socket, backlog).
        holder: Any = SocketHolder
        self._shd = holder(listener.detach(), False, self.backlog)
        self._ssp = None

    def _stop_workers(self) -> None:
        """Wait for requests in flight, but not forever: a thread can't be killed, as the original tries to."""
        self.ending()
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
            worker.join(_GRACE)  # type: ignore[no-untyped-call]


def serve(
    app: Flask,
    *,
    host: str,
    port: int,
    threads: int,
    max_connections: int,
    share_port: bool = False,
    ending: Callable[[], object] = lambda: None,
    on_stop: Sequence[Callable[[], None]] = (),
) -> None:
    """Serve `app` until told to stop; then finish the requests in flight and call each of `on_stop` in order.

    `ending` is called first, and has those requests end that would last for long.

    `threads` requests are worked on at once, further ones wait. Of connections, idle ones included, there are at most
    `max_connections`; a further client is not answered until one is closed. With `share_port`, other
    processes that do the same may listen there too. Must be called on the main thread. Exits with status 1 if the
    address can't be used.
    """
    log = structlog.get_logger()
    server = _OneProcess(
        app.name,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=threads,
        backpressure=max_connections,  # which counts connections, though its documentation says requests
        http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_WITHIN, max_buffer_size=_HEAD_BYTES),
        websockets=False,
        log_enabled=False,
    )

    server.share_port, server.ending = share_port, ending

    def started() -> None:
        # Granian would take SIGHUP for "reload the code"; here the terminal is gone.
        signal.signal(signal.SIGHUP, server.signal_handler_interrupt)
        log.info("listening", host=host, port=port, pid=os.getpid())

    server.on_startup(started)
    try:
        server.serve(target_loader=lambda: app, wrap_loader=False)
    except OSError as error:
        log.error("can't listen", host=host, port=port, reason=error.strerror)  # noqa: TRY400 - the reason says it all
        _stop(on_stop, log)
        sys.exit(1)
    stuck = [worker for worker in server.wrks if worker.inner.is_alive()]
    _stop(on_stop, log)
    log.info("stopped", requests_cut=bool(stuck))
    if stuck:
        os._exit(1)  # the interpreter would wait for its thread


def _stop(on_stop: Sequence[Callable[[], None]], log: Any) -> None:
    for callback in on_stop:
        try:
            callback()
        except Exception:  # a process's edge: the others have to be stopped as well
            log.exception("stopping failed")
