"""An etcd of a test's own: killed, stopped and started again as it likes."""

import os
import signal
import subprocess
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import requests

from common.discovery.certificates import Certificates
from ops.stack import etcd
from ops.stack.plan import free_pair
from tests.authority import Authority

_WITHIN: Final = 30.0  # seconds, for a start
_ROOT: Final = {"name": "root", "password": "of root"}
_HOST: Final = "127.0.0.1"


def etcd_program() -> str:
    """Return etcd's program. Skip where there is none, fail where it must be."""
    if (found := etcd.program()) is None:
        if os.environ.get("CI") == "true" and os.environ.get("ORDERS_REAL") == "1":
            pytest.fail("ORDERS_REAL=1 needs etcd")
        pytest.skip("there is no etcd (orders stack up --etcd fetches it)")
    return found


class EtcdServer:
    """One server, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        """Start it."""
        self._program, self._directory = etcd_program(), directory
        directory.mkdir(parents=True, exist_ok=True)
        self._port = free_pair()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it is, as `ORDERS_DISCOVERY` names it."""
        return f"etcd://{_HOST}:{self._port}"

    @property
    def certificates(self) -> Certificates:
        """What a client needs."""
        return Certificates()

    def _command(self) -> tuple[str, ...]:
        return etcd.arguments(self._directory / "data", _HOST, self._port)

    def _tells_health_at(self) -> int:
        return self._port

    def start(self) -> None:
        """Start it, with what it had, and wait until it is healthy."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), executable=self._program, stdout=log, stderr=log)
        deadline = time.monotonic() + _WITHIN
        while etcd.why_not(_HOST, self._tells_health_at()) is not None:
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail((self._directory / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Have it accept connections, and answer none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class SecuredEtcdServer(EtcdServer):
    """One that speaks TLS, with those alone who have a certificate, and wants a password; ours may use our keys alone.

    Its own certificate is good for a client, too: what answers HTTP in etcd is one
    (https://github.com/etcd-io/etcd/issues/9785).
    """

    USER, PASSWORD = "orders@shop", "p:a@s/s ü"

    def __init__(self, directory: Path, prefix: str = "orders") -> None:
        """Start it, and have it ask for passwords from now on; its user may use the keys below `prefix`."""
        self.authority = Authority(directory / "certificates")
        self._own, self._key = self.authority.issue("server")
        self._client = self.authority.issue("client")
        self._health = free_pair()
        super().__init__(directory)
        self._ask_for_passwords(prefix)

    def url_of(self, user: str, password: str) -> str:
        """Return where it is, for this user."""
        return f"etcds://{quote(user, safe='')}:{quote(password, safe='')}@{_HOST}:{self._port}"

    @property
    def url(self) -> str:
        """See `EtcdServer`."""
        return self.url_of(self.USER, self.PASSWORD)

    @property
    def certificates(self) -> Certificates:
        """See `EtcdServer`."""
        return Certificates(self.authority.certificate, *self._client)

    def _command(self) -> tuple[str, ...]:
        where = f"https://{_HOST}:{self._port}"
        return (
            *super()._command(),
            *("--listen-client-urls", where, "--advertise-client-urls", where),
            *("--cert-file", str(self._own), "--key-file", str(self._key)),
            *("--client-cert-auth", "--trusted-ca-file", str(self.authority.certificate)),
            *("--listen-metrics-urls", f"http://{_HOST}:{self._health}"),
        )

    def _tells_health_at(self) -> int:
        return self._health

    def _ask_for_passwords(self, prefix: str) -> None:
        first, behind = (b64encode(f"/{prefix}{end}".encode()).decode() for end in "/0")
        for path, body in (
            ("user/add", _ROOT),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": self.USER, "password": self.PASSWORD}),
            ("role/add", {"name": "instances"}),
            ("role/grant", {"name": "instances", "perm": {"permType": 2, "key": first, "range_end": behind}}),
            ("user/grant", {"user": self.USER, "role": "instances"}),
            ("enable", {}),
        ):
            self._administer(path, body)

    def end_tokens(self) -> None:
        """Have it know none any more that it gave our user, as when their time is over: their password is another."""
        token = self._administer("authenticate", _ROOT)["token"]
        self._administer("user/changepw", {"name": self.USER, "password": self.PASSWORD}, token)

    def _administer(self, path: str, body: Mapping[str, Any], token: str = "") -> Any:
        answer = requests.post(
            f"https://{_HOST}:{self._port}/v3/auth/{path}",
            json=body,
            headers={"Authorization": token} if token else {},
            verify=str(self.authority.certificate),
            cert=(str(self._client[0]), str(self._client[1])),
            timeout=10,
        )
        assert answer.ok, (path, answer.text)
        return answer.json()
