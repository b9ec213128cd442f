"""What docker/Dockerfile builds, built and tried without an engine: `docker/check --image` runs this, as root.

    python -m tests.image.check BASE WORK

BASE is a Debian with Python that debootstrap made. The services start from the image, as its user, on read-only files
as compose has them, on SQLite and the embedded broker; an order is placed and paid; SIGTERM ends all.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common import registry
from ops import catalogue
from ops.client import Client, probe
from ops.plan import free_port_base
from tests.image.dockerfile import Builder, Image, sandbox
from tests.support import eventually

ROOT = Path(__file__).parents[2]
STARTED_WITHIN = ENDED_WITHIN = 60.0  # seconds
NETWORK = ("resolv.conf", "pip.conf", "ssl/certs")  # of /etc: how this machine reaches its package index


def say(line: str) -> None:
    """Print at once, whatever stdout is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def networked(base: Path) -> dict[str, str]:
    """Give the Debian this machine's way to a package index; return the variables that belong to it."""
    for name in NETWORK:
        subprocess.run(
            ["cp", "--recursive", "--dereference", f"/etc/{name}", (base / "etc" / name).parent], check=False
        )
    named = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_")) or "proxy" in name}
    for path in (Path(value) for value in named.values() if value.startswith("/")):
        if path.is_file() and not (inside := base / str(path).lstrip("/")).exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(path.read_bytes())
    return named


def settings(service: str, ports: Mapping[str, int], secret: str) -> dict[str, str]:
    """Return the environment of a service, as compose gives it, on the embedded broker."""
    urls = {f"ORDERS_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return urls | {
        "ORDERS_PORT": str(ports[service]),
        "ORDERS_JWT_SECRET": secret,
        "ORDERS_PUBLIC_KEYS": "/data/keys/public/keys.json",
        **({"ORDERS_KEY_FILE": f"/data/keys/{service}/key.json"} if service in registry.CALLERS else {}),
        "ORDERS_DATABASE_URL": f"sqlite:////data/{service}.db",
        "ORDERS_BROKER_URL": "embedded:////data/broker.db",
    }


@contextmanager
def running(image: Image, service: str, environment: Mapping[str, str], data: Path) -> Iterator[None]:
    """Start a service from the image; afterwards it must end by SIGTERM, as `docker stop` asks it to."""
    command = [*within(image, environment, data), *image.command[:-1], service]
    with (data.parent / f"{service}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: probe(f"http://127.0.0.1:{environment['ORDERS_PORT']}") is None, within=STARTED_WITHIN)
        subprocess.run([*within(image, environment, data), *image.health], check=True)
        say(f"{service} is ready, and its HEALTHCHECK says so")
        yield
    finally:
        child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        for pid in child:
            os.kill(int(pid), 15)
        ended = process.wait(ENDED_WITHIN)
    if ended != 0:
        raise SystemExit(f"{service} ended with {ended}:\n{(data.parent / f'{service}.log').read_text()[-2000:]}")


def within(image: Image, environment: Mapping[str, str], data: Path) -> list[str]:
    """Return the words that run a command in the image, with a volume for data."""
    words = sandbox(image, environment, writable=False)
    words[words.index("--dev") : words.index("--dev")] = ["--bind", str(data), "/data"]
    return words


def main(base: Path, work: Path) -> None:
    """Build, start, order, stop. Raise where anything is not as it should be."""
    (base / "data").mkdir(exist_ok=True)
    image = Builder(ROOT, base, work, networked(base)).build((ROOT / "docker" / "Dockerfile").read_text(), say)
    data = work / "data"
    data.mkdir()
    os.chown(data, *map(int, image.user.split(":")))
    first, secret = free_port_base(), secrets.token_urlsafe(36)
    ports = {name: first + registry.offset(name, 1) for name in registry.ALL_NAMES}
    databases = {f"{name.upper()}_DATABASE_URL": f"sqlite:////data/{name}.db" for name in registry.ALL_NAMES}
    subprocess.run([*within(image, databases, data), "orders", "docker", "migrate"], check=True)
    keys = [*within(image, {}, data), "orders", "docker"]
    subprocess.run([*keys, "keys", "--keys", "/data/keys"], check=True)
    made = [*keys, "token", "image", "--scope", "orders admin", "--keys", "/data/keys"]
    token = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    with ExitStack() as services:
        for service in reversed(registry.ALL_NAMES):  # order last: it waits for the others, as in compose
            services.enter_context(running(image, service, settings(service, ports, secret), data))
        order(ports, token)
    say("All ended by SIGTERM.")


def order(ports: Mapping[str, int], token: str) -> None:
    """Place an order and pay it."""
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with Client(urls, token) as client:
        goods = catalogue.fill(client)[0]
        placed = client.post("order", "/orders", {"items": [{"goods_id": goods["goods_id"], "quantity": 2}]})
        paid = client.post("order", f"/orders/{placed['order_id']}/pay")
    say(f"Order {paid['order_id']} is {paid['status']}.")
    if paid["status"] != "paid":
        raise SystemExit(f"not paid: {paid}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
