"""Runs an application in this one process until SIGTERM, SIGINT or SIGHUP, see docs/decisions/."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from flask import Flask
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.mt import MTServer

_GRACE = 10.0  # seconds for requests in flight when the process is told to stop
_HEADERS_WITHIN = 60_000  # milliseconds: for sending a request's head, and how long a kept connection may idle
_HEAD_BYTES = 64 * 1024


class _OneProcess(MTServer):
    """Granian's threaded server; it is meant for Python without a GIL, and works with one as well."""

    def _check_gil(self) -> None:
        """Let the GIL be."""

    def _init_shared_socket(self) -> None:
        """Listen without SO_REUSEPORT, so that a second process on this address fails instead of sharing it."""
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        listener = socket.create_server((self.bind_addr, self.bind_port), family=family, backlog=self.backlog)
        # Its stub lacks the constructor, which granian itself uses in granian/net.py: (fd, is a Unix socket, backlog).
        holder: Any = SocketHolder
        self._shd = holder(listener.detach(), False, self.backlog)
        self._ssp = None

    def _stop_workers(self) -> None:
        """Wait for requests in flight, but not forever: a thread can't be killed, as the original tries to."""
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
            worker.join(_GRACE)  # type: ignore[no-untyped-call]


def serve(
    app: Flask,
    *,
    host: str,
    port: int,
    threads: int,
    max_waiting: int,
    on_stop: Sequence[Callable[[], None]] = (),
) -> None:
    """Serve `app` until told to stop; then finish the requests in flight and call each of `on_stop` in order.

    At most `max_waiting` requests are in the house, of which `threads` are worked on; further ones wait in the
    sockets. Must be called on the main thread. Exits with status 1 if the address can't be used.
    """
    log = structlog.get_logger()
    server = _OneProcess(
        app.name,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=threads,
        backpressure=max_waiting,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADERS_WITHIN, max_buffer_size=_HEAD_BYTES),
        websockets=False,
        log_enabled=False,
    )

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
