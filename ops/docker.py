"""What `docker/` shares with `orders stack`: files rendered from `ops.stack.settings` and `common.registry`.

Only places differ: in a container every server has its usual port and listens on every address. The official images
bring their own data directories, users and Java.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from common import migrations, registry
from gateway import caddy, joint
from gateway.operations import hidden, public
from gateway.settings import Settings
from gateway.starting import CONFIG, write_files
from gateway.upstreams import Instances
from ops import dashboard
from ops.documents import documents
from ops.errors import CommandFailed
from ops.stack import render, settings

ROCKETMQ_HOME = "/home/rocketmq"  # of the image apache/rocketmq
REDIS_DATA = "/data"  # of the image redis
NAMESRV_PORT, BROKER_PORT, HA_PORT, PROXY_PORT, REMOTING_PORT = 9876, 10911, 10912, 8081, 8080
MYSQL_PORT, REDIS_PORT = 3306, 6379
# A proxy beside its broker tells clients its own address as an IPv4 one, whatever it is: told `broker`, a client fails
# with "the target uri is not valid: ipv4:broker:8081". So the broker's container has a fixed address.
BROKER_ADDRESS = "172.28.77.10"
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # nosec B104 - a container's network is its own
_NOTE = "Written by ./scripts/render from ops/stack/settings.py: change it there."
_PROMETHEUS_NOTE = "Written by ./scripts/render from common/registry.py: change it there."
_PLACE = render.BrokerPlace(
    namesrv=f"namesrv:{NAMESRV_PORT}",
    address=BROKER_ADDRESS,
    bind=_ANY_ADDRESS,
    store=f"{ROCKETMQ_HOME}/store",
    broker_port=BROKER_PORT,
    ha_port=HA_PORT,
    proxy_port=PROXY_PORT,
    remoting_port=REMOTING_PORT,
)


def files() -> dict[str, str]:
    """Return every configuration file by its path in `docker/`."""
    namesrv = render.namesrv_conf(NAMESRV_PORT, ROCKETMQ_HOME)
    return {
        "rocketmq/namesrv.conf": f"# {_NOTE}\n{_listening_everywhere(namesrv)}",
        "rocketmq/broker.conf": f"# {_NOTE}\n{render.broker_conf(_PLACE, settings.DEFAULT_TIMING)}",
        "rocketmq/rmq-proxy.json": render.proxy_json(_PLACE, settings.DEFAULT_TIMING),
        "mysql/my.cnf": f"# {_NOTE}\n{render.my_cnf({}).replace('[mariadbd]', '[mysqld]')}",
        "mysql/databases.sql": f"-- {_NOTE}\n{_databases()}",
        "redis/redis.conf": f"# {_NOTE}\n{_redis()}",
        "prometheus/prometheus.yml": f"# {_PROMETHEUS_NOTE}\n{_prometheus()}",
        "grafana/orders.json": dashboard.render(),
    }


def write_gateway(folder: Path) -> Path:
    """Write the gateway's configuration, and the files that it serves, for its container; return the former.

    The services are found by their names, of which each instance has an address (`up --scale order=2`).
    Raise `CommandFailed`.
    """
    told = documents()
    shown = public(told)
    site = caddy.Site(
        shown,
        hidden(told, shown),
        {service.name: _instances(service) for service in registry.SERVICES},
        folder / "files",
        _instances(registry.CONSOLE),
    )
    shape = caddy.Shape(
        listen=f"{_ANY_ADDRESS}:{registry.GATEWAY.port}",
        storage=Path("/tmp/caddy"),  # noqa: S108  # nosec B108 - the container's own; nothing is kept without HTTPS
        logs=None,
        max_body=Settings.model_fields["max_body"].default,
        body_within=Settings.model_fields["gateway_body_timeout"].default,
    )
    try:
        write_files(folder / "files", joint.document(told, shown))
        path = folder / CONFIG
        path.write_text(json.dumps(caddy.config(site, shape), indent=1), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}.") from error
    return path


def _instances(service: registry.Service) -> Instances:
    return Instances((), f"{service.name}:{service.port}")


def java_options(memory: tuple[str, ...]) -> str:
    """Return what the image's scripts take as JAVA_OPT_EXT: sizes and properties.

    Not the collector, which they choose themselves (two are an error), nor what only Java 17 knows. They also choose
    how much is for young objects, by the machine's memory: half of the heap here, or it might be more than all of it.
    """
    heap = next(option for option in memory if option.startswith("-Xmx"))
    young = int(heap.removeprefix("-Xmx").removesuffix("m")) // 2
    chosen = [option for option in memory if option.startswith(("-Xms", "-Xmx", "-XX:MaxDirectMemorySize", "-D"))]
    return " ".join([*chosen, f"-Xmn{young}m"])


def migrate(environment: Mapping[str, str]) -> None:
    """Migrate the databases that ORDER_DATABASE_URL and its like name, one for each service.

    Raise `DatabaseUnavailable`, or `CommandFailed` where one is not named.
    """
    urls = {service: environment.get(f"{service.upper()}_DATABASE_URL", "") for service in settings.DATABASES}
    missing = [service for service, url in urls.items() if not url]
    if missing:
        raise CommandFailed(f"Set {missing[0].upper()}_DATABASE_URL.")
    for service, url in urls.items():
        migrations.upgrade(service, url)


def _listening_everywhere(namesrv: str) -> str:
    return namesrv.replace(f"bindAddress={settings.NAMESRV['bindAddress']}", f"bindAddress={_ANY_ADDRESS}")


def _databases() -> str:
    """Return what makes the databases: the image makes the user, with the password of its environment."""
    lines = render.init_sql("unused").splitlines(keepends=True)
    return "".join(line for line in lines if any(f"`{name}`" in line for name in settings.DATABASES))


def _prometheus() -> str:
    """Return what is scraped: every instance of every service, so `up --scale order=2` needs no change."""
    lines = ["global:", "  scrape_interval: 5s", "", "scrape_configs:"]
    for service in registry.PROCESSES:
        lines += [
            f"  - job_name: {service.name}",
            "    authorization: { credentials_file: /tokens/prometheus }",
            "    dns_sd_configs:",
            f"      - {{ names: [{service.name}], type: A, port: {service.port}, refresh_interval: 10s }}",
            "",
        ]
    return "\n".join([*lines, "rule_files:", "  - alerts.yml", ""])


def _redis() -> str:
    """Return redis.conf without the password, which compose.yaml adds: protected mode asks for one."""
    return render.redis_conf({"bind": _ANY_ADDRESS, "port": REDIS_PORT, "dir": REDIS_DATA})
