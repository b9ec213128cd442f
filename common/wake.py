"""Waiting on the main thread for a signal."""

import signal
import socket
from contextlib import suppress


class Wake:
    """What the main thread waits for, as a `threading.Event` that misses no signal; to be made on that thread.

    A signal that comes just before a thread blocks, after it last looked for one, is noticed only once something else
    wakes it: a process told to stop right after its start went on. The byte that Python's own handler writes stays
    there until it is read: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
    """

    def __init__(self) -> None:
        """Take over `signal.set_wakeup_fd` of this process."""
        self._is_set = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def set(self) -> None:
        """End the wait; from any thread, or from a signal's handler."""
        self._is_set = True
        with suppress(BlockingIOError):  # there are bytes enough
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Let the next wait wait again."""
        self._is_set = False

    def wait(self) -> None:
        """Return once it is set. Raise what a signal's handler raises."""
        while not self._is_set:
            self._reader.recv(64)
