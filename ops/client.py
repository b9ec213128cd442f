"""A small REST client of our services, for the command line, the demo and the tests."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import urllib3

from ops.errors import CommandFailed


class Unreachable(CommandFailed):
    """The service did not answer, or the connection was lost before its answer."""


class Refused(CommandFailed):
    """The service answered with a problem (RFC 9457)."""

    def __init__(self, detail: str, status: int, problem: Mapping[str, Any]) -> None:
        """Take the line to show, the HTTP status and the problem document."""
        super().__init__(detail)
        self.http_status, self.problem = status, problem

    @property
    def problem_slug(self) -> str:
        """The last part of the problem's type, such as `insufficient-stock`."""
        return str(self.problem.get("type", "")).rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the JSON body (None: there was none) and the headers, names in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Client:
    """Calls the services of one deployment in the name of one user. Thread-safe."""

    def __init__(self, urls: Mapping[str, str], token: str, *, timeout: float = 10.0) -> None:
        """Take the base URL of each service and a bearer token; `timeout` in seconds, for each call."""
        self._urls, self._token = urls, token
        self._pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=urllib3.Timeout(timeout))

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call and return its answer, whatever its status. Raise `Unreachable`."""
        url = self._urls[service] + path + (f"?{urlencode(query)}" if query else "")
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        body = None
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent = {"Content-Type": "application/json", **sent}
        try:
            response = self._pool.request(method, url, body=body, headers=sent)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{method} {url}: no answer ({_why(error)}).") from error
        return Answer(response.status, _parsed(response.data), {k.lower(): v for k, v in response.headers.items()})

    def call(self, service: str, method: str, path: str, **options: Any) -> Any:
        """Make one call and return the body of its answer. Raise `Unreachable`, `Refused` (status 400 and up)."""
        answer = self.ask(service, method, path, **options)
        if answer.status >= 400:  # noqa: PLR2004 - where errors begin, RFC 9110
            problem = answer.body if isinstance(answer.body, dict) else {}
            raise Refused(_told(f"{method} {path}", answer.status, problem), answer.status, problem)
        return answer.body

    def get(self, service: str, path: str, **query: Any) -> Any:
        """GET; return the body."""
        return self.call(service, "GET", path, query=query)

    def post(self, service: str, path: str, json_body: Any = None, **headers: str) -> Any:
        """POST; return the body. Header names are given with underscores."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(service, "POST", path, json_body=json_body, headers=names)

    def post_to_any(self, instances: Sequence[str], path: str) -> Any:
        """POST to the first instance that answers; return the body. Raise `Unreachable` where none does, `Refused`."""
        *others, last = instances
        for instance in others:
            with suppress(Unreachable):
                return self.post(instance, path)
        return self.post(last, path)

    def put(self, service: str, path: str, json_body: Any) -> Any:
        """PUT; return the body."""
        return self.call(service, "PUT", path, json_body=json_body)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def probe(url: str, *, timeout: float = 3.0, authority: Path | None = None) -> str | None:
    """Ask a service whether it is ready; return None if it is, else why not. `authority`: who signs its certificate."""
    if authority is not None and not authority.is_file():
        return f"there is no {authority} yet"
    pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(timeout), ca_certs=authority and str(authority))
    try:
        with pool:
            response = pool.request("GET", f"{url}/readyz")
    except urllib3.exceptions.HTTPError as error:
        return f"no answer: {_why(error)}"
    if response.status == 200:  # noqa: PLR2004 - OK
        return None
    body = _parsed(response.data)
    return str(body.get("detail", f"HTTP {response.status}")) if isinstance(body, dict) else f"HTTP {response.status}"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None


def _told(what: str, status: int, problem: Mapping[str, Any]) -> str:
    line = f"{what}: {status} {problem.get('title', '')}: {problem.get('detail', 'no details given')}"
    for error in problem.get("errors", ()):
        line += f" [{error.get('pointer', '')}: {error.get('message', '')}]"
    return line + (f" (request {problem['request_id']})" if "request_id" in problem else "")


def _why(error: urllib3.exceptions.HTTPError) -> str:
    words = {
        urllib3.exceptions.NewConnectionError: "nothing listens there",
        urllib3.exceptions.ConnectTimeoutError: "no connection in time",
        urllib3.exceptions.ReadTimeoutError: "no answer in time",
        urllib3.exceptions.ProtocolError: "the connection was cut",
    }
    return next((word for kind, word in words.items() if isinstance(error, kind)), type(error).__name__)
