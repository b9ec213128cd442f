"""etcd: its program is taken out of Debian's package, which is not installed: that would start a service."""

import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops.errors import CommandFailed
from ops.stack.jars import cache_dir
from ops.stack.packages import find

_PACKAGE: Final = "etcd-server"
_LONGEST: Final = 300.0  # seconds a download of 8 MB may take
_WITHIN: Final = 2.0  # seconds for one probe


def program() -> str | None:
    """Return the path of etcd: an installed one, or the one that was fetched; None where there is none."""
    fetched = cache_dir() / "etcd" / "etcd"
    return find("etcd") or (str(fetched) if fetched.is_file() else None)


def ensure(say: Callable[[str], None]) -> str:
    """Return the path of etcd, fetched once a user where there is none. Raise `CommandFailed`."""
    if (found := program()) is not None:
        return found
    if find("apt-get") is None or find("dpkg-deb") is None:
        raise CommandFailed("This is no Debian or Ubuntu: install etcd 3.4 or newer, then try again.")
    say("Fetching etcd (once; about 8 MB) ...")
    folder = cache_dir() / "etcd"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as draft:
        _run(["apt-get", "download", "-qq", _PACKAGE], draft)
        (package,) = Path(draft).glob("*.deb")
        _run(["dpkg-deb", "--extract", str(package), draft], draft)
        (Path(draft) / "usr" / "bin" / "etcd").replace(folder / "etcd")
    return str(folder / "etcd")


def arguments(data_dir: Path, host: str, port: int) -> tuple[str, ...]:
    """Return the command line of a cluster of one: clients at `port`, other members at the next one.

    https://etcd.io/docs/v3.4/op-guide/configuration/
    """
    clients, members = f"http://{host}:{port}", f"http://{host}:{port + 1}"
    return (
        *("etcd", "--name", "orders", "--data-dir", str(data_dir)),
        *("--listen-client-urls", clients, "--advertise-client-urls", clients),
        *("--listen-peer-urls", members, "--initial-advertise-peer-urls", members),
        *("--initial-cluster", f"orders={members}"),
        *("--logger", "zap", "--log-level", "warn"),
    )


def why_not(host: str, port: int) -> str | None:
    """Return None where it is healthy, which takes a read by all of the cluster; else why not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/health", timeout=_WITHIN) as answer:
            is_healthy = json.loads(answer.read(1024)).get("health") == "true"
    except (OSError, ValueError) as error:
        return f"{host}:{port} does not answer: {error}."
    return None if is_healthy else "it is not healthy"


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_LONGEST)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"{_PACKAGE} could not be fetched: {error}.") from error
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).strip().splitlines()[-2:])
        raise CommandFailed(f"{_PACKAGE} could not be fetched ({said}); as root: apt-get update, then try again.")
