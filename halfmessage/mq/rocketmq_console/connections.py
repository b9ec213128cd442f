"""Connections to RocketMQ's servers that are kept, with many requests under way on each.

A page of messages asks some hundred things. Each on a connection of its own and one after the other they took seconds.
A server answers in any order, each answer with its request's number (`opaque` in RemotingCommand.java).
"""

import contextlib
import itertools
import socket
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.remoting import Address, Answer, Refused

UNDER_WAY: Final = 64  # requests on one connection: some 20 kB, which its buffers take while no answer is read
KEPT: Final = 4  # idle connections of a server

Request = tuple[int, Mapping[str, object]]
"""Its code in RequestCode.java and its fields. Only what may be asked twice."""


class Connections:
    """Asks servers. Any number of threads may; each has a connection to itself for as long as it asks."""

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self._idle: dict[Address, list[_Connection]] = defaultdict(list)
        weakref.finalize(self, _close, self._idle)

    def ask(self, server: Address, requests: Iterable[Request]) -> list[Answer | Refused]:
        """Return the answer to each request, or that the server refused it. Raise `BrokerError`.

        A connection that lay idle may be dead, as its server was started anew: then all is asked once more.
        """
        asked = list(requests)
        try:
            with contextlib.suppress(ConnectionError, IndexError):
                return self._asked(server, self._idle[server].pop(), asked)
            return self._asked(server, _Connection(server), asked) if asked else []
        except (OSError, ValueError) as error:
            raise remoting.unanswered(server, error) from error

    def _asked(self, server: Address, connection: "_Connection", requests: Sequence[Request]) -> list[Answer | Refused]:
        found: list[Answer | Refused] = []
        try:
            for begin in range(0, len(requests), UNDER_WAY):
                found += connection.ask(server, requests[begin : begin + UNDER_WAY])
        except BaseException:
            connection.close()
            raise
        if len(self._idle[server]) < KEPT:
            self._idle[server].append(connection)
        else:
            connection.close()
        return found


class _Connection:
    """A connection, and what counts its requests."""

    def __init__(self, server: Address) -> None:
        """Connect. Raise `OSError`."""
        self._socket = socket.create_connection((server.host, server.port), timeout=remoting.PATIENCE)
        self._answers = self._socket.makefile("rb")
        self._numbers = itertools.count(1)

    def ask(self, server: Address, requests: Sequence[Request]) -> Iterator[Answer | Refused]:
        """Return what was answered to each. Raise `OSError`, `ValueError`."""
        numbered = dict(zip(self._numbers, requests, strict=False))
        self._socket.sendall(b"".join(remoting.encoded(*one, number=number) for number, one in numbered.items()))
        found: dict[int, Answer | Refused] = {}
        while len(found) < len(numbered):
            header, body = remoting.received(self._answers.read)
            number = header.get("opaque")
            if number not in numbered:
                raise ValueError(f"an answer to request {number}, which was not asked")
            try:
                found[number] = remoting.answered(server, header, body)
            except Refused as refusal:
                found[number] = refusal
        return map(found.__getitem__, numbered)

    def close(self) -> None:
        """End it."""
        self._answers.close()
        self._socket.close()


def _close(idle: Mapping[Address, list[_Connection]]) -> None:
    for connection in itertools.chain.from_iterable(idle.values()):
        connection.close()
