"""Calls between the simulated services: the real client on one side, the real routes on the other, no sockets."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson
import urllib3
from pydantic import BaseModel
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from common.web import Reply
from common.web.problems import kind_of
from halfmessage.errors import HalfMessageError
from lab.simulate.faults import Fault, Trigger
from lab.simulate.injector import Injector
from lab.simulate.scheduler import Process, Scheduler, Task

Answer = tuple[int, bytes]
Serve = Callable[[str, str, bytes | None, Mapping[str, str]], Answer]
"""Answers a call: method, path, body, and headers where they matter."""

_OK: Final = 200
_ON_ITS_WAY: Final = 0.0004  # seconds that a call takes to arrive
_POOL: Any = None  # urllib3's errors name the pool that they come from


class Routes:
    """What stands for `common.web.Api` where routes are declared: it serves them to calls that were let in."""

    def __init__(self) -> None:
        """Begin without any."""
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Reply], Mapping[str, Any]]] = []

    def get(self, path: str, **declared: Any) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """Declare a route."""
        return self._declare("GET", path, declared)

    def post(self, path: str, **declared: Any) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """Declare a route."""
        return self._declare("POST", path, declared)

    def put(self, path: str, **declared: Any) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """Declare a route."""
        return self._declare("PUT", path, declared)

    def callback(self, path: str, **declared: Any) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        """Declare a POST of a party outside."""
        return self._declare("POST", path, {**declared, "foreign": True})

    def _declare(
        self, method: str, path: str, declared: Mapping[str, Any]
    ) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>\\w+)", re.sub(r"\{(\w+_id)\}", r"(?P<\1>[0-9]+)", path)))

        def take(view: Callable[..., Reply]) -> Callable[..., Reply]:
            self._routes.append((method, pattern, view, declared))
            return view

        return take

    def serve(self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Answer a call as the web layer would; errors of ours have their status."""
        place = urlsplit(path)
        for of_method, pattern, view, declared in self._routes:
            match = pattern.fullmatch(place.path)
            if of_method == method and match is not None:
                named = match.groupdict().items()
                given: dict[str, Any] = {name: int(text) if name.endswith("_id") else text for name, text in named}
                if declared.get("foreign"):
                    given |= {"headers": headers, "read": lambda: payload or b""}
                if body := declared.get("body"):
                    given["body"] = body.model_validate_json(payload or b"{}")
                if query := declared.get("query"):
                    given["query"] = query.model_validate(dict(parse_qsl(place.query)))
                return _answer(view, given)
        return 404, b"{}"


def _answer(view: Callable[..., Reply], given: Mapping[str, Any]) -> Answer:
    try:
        reply = view(**given)
    except HalfMessageError as error:
        return kind_of(type(error)).status, b"{}"
    body = reply.body
    if isinstance(body, bytes):
        return reply.status, body
    return reply.status, body.model_dump_json().encode() if isinstance(body, BaseModel) else orjson.dumps(body)


@dataclass(slots=True)
class _Call:
    """One that is under way; the caller waits for `answer`, or for its end without one."""

    caller: Task
    answer: Answer | None = None
    is_cut: bool = False
    is_over: bool = False


class Network:
    """Brings calls to processes that listen, or not."""

    def __init__(self, scheduler: Scheduler, injector: Injector) -> None:
        """Take what runs the tasks, and what goes wrong."""
        self._scheduler = scheduler
        self._injector = injector
        self._listening: dict[str, tuple[Process, Serve]] = {}
        self.deductions: list[tuple[str, int, bytes]] = []
        """What participants answered to `POST /reservations`: whose answer, when it was asked for (ms), the answer."""

    def listen(self, process: Process, serve: Serve) -> None:
        """Have calls to a service come to this process from now on, until it ends."""
        self._listening[process.name] = (process, serve)

    def call(
        self,
        service: str,
        method: str,
        path: str,
        body: bytes | None,
        within: float,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Make a call. Raise urllib3's errors."""
        injector = self._injector
        until = self._scheduler.now + int(within * 1e9)
        fault = injector.struck_by(Trigger.CALL, service)
        kind = "" if fault is None else fault.kind
        injector.tell("call", to=service, method=method, path=path, body=(body or b"").decode())
        injector.hold(_ON_ITS_WAY)
        there = self._listening.get(service)
        is_cut_off = injector.is_out("cut-off", service.partition("-")[0])
        if kind == "refused" or is_cut_off or there is None or not there[0].is_alive:
            raise NewConnectionError(_POOL, "refused")
        call = _Call(injector.living())
        for _ in range(2 if kind == "twice" else 1):
            if kind != "lost":
                self._arrive(there, call, (method, path, body, headers), fault)
        self._wait(call, until)
        return self._told(call, path, kind)

    def _arrive(
        self,
        there: tuple[Process, Serve],
        call: _Call,
        asked: tuple[str, str, bytes | None, Mapping[str, str]],
        fault: Fault | None,
    ) -> None:
        """Have a call worked on by a task of the other process: what that answers first is the answer."""
        process, serve = there
        scheduler = self._scheduler

        def work() -> None:
            if fault is not None and fault.kind == "late":
                self._injector.hold_up(fault)
            at = scheduler.now // 1_000_000
            answer = serve(*asked)
            if asked[:2] == ("POST", "/reservations") and answer[0] == _OK:
                self.deductions.append((process.name, at, answer[1]))
            if not call.is_over and call.answer is None:
                call.answer = answer
                scheduler.wake(call.caller)

        def cut() -> None:
            if not call.is_over and call.answer is None and call.caller.process.is_alive:
                call.is_cut = True
                scheduler.wake(call.caller)

        process.at_death.append(cut)
        scheduler.spawn(process, f"request {asked[1].partition('?')[0]}", work)

    def _wait(self, call: _Call, until: int) -> None:
        self._scheduler.block(until)
        call.is_over = True

    def _told(self, call: _Call, path: str, kind: str) -> Answer:
        error: HTTPError | None = None
        if call.is_cut or (kind == "cut" and call.answer is not None):
            error = ProtocolError("Connection aborted.")
        elif call.answer is None or kind == "answer-lost":
            error = ReadTimeoutError(_POOL, path, "Read timed out.")
        if error is not None:
            self._injector.tell("no answer", reason=type(error).__name__)
            raise error
        assert call.answer is not None  # noqa: S101 - or there would be an error # nosec B101
        self._injector.tell("answer", status=call.answer[0], body=call.answer[1].decode())
        return call.answer


class Pool:
    """What stands for urllib3's pool of connections to one service, whose address is its name."""

    def __init__(self, network: Network, url: str) -> None:
        """Take what brings calls, and the base URL."""
        self._network = network
        self._service = urlsplit(url).hostname or ""

    def urlopen(self, method: str, path: str, *, body: bytes | None, timeout: urllib3.Timeout, **_: Any) -> "_Response":
        """Make a call. Raise urllib3's errors."""
        within = timeout.total
        assert isinstance(within, float)  # noqa: S101 - the client sets it # nosec B101
        return _Response(*self._network.call(self._service, method, path, body, within))

    def close(self) -> None:
        """Do nothing: there are no connections."""


class _Response:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body

    def read1(self, _most: int) -> bytes:
        body, self._body = self._body, b""
        return body

    def release_conn(self) -> None:
        pass

    def close(self) -> None:
        pass
