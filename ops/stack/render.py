"""The servers' configuration files, rendered from `ops.stack.settings`; only places and ports are told here."""

import json
from dataclasses import dataclass

from ops.stack.settings import (
    BROKER,
    DATABASE_USER,
    DATABASES,
    MARIADB,
    NAMESRV,
    PROXY,
    REDIS,
    Timing,
    Value,
    Values,
)


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where a broker and its proxy are: `namesrv` as host:port, `address` what clients are told, ports, the store."""

    namesrv: str
    address: str
    bind: str
    store: str
    broker_port: int
    ha_port: int
    proxy_port: int
    remoting_port: int


def properties(values: Values) -> str:
    """Return a Java properties file."""
    return "".join(f"{name}={_java(value)}\n" for name, value in values.items())


def namesrv_conf(port: int, home: str) -> str:
    """Return the name server's configuration."""
    places: Values = {"listenPort": port, "kvConfigPath": f"{home}/kvConfig.json"}
    return properties({**NAMESRV, **places})


def broker_conf(place: BrokerPlace, timing: Timing) -> str:
    """Return broker.conf."""
    places: Values = {
        "namesrvAddr": place.namesrv,
        "brokerIP1": place.address,
        "bindAddress": place.bind,
        "listenPort": place.broker_port,
        "haListenPort": place.ha_port,
        "storePathRootDir": place.store,
        "storePathCommitLog": f"{place.store}/commitlog",
    }
    return properties({**BROKER, **timing.broker, **places})


def proxy_json(place: BrokerPlace, timing: Timing) -> str:
    """Return rmq-proxy.json."""
    places: Values = {
        "namesrvAddr": place.namesrv,
        "grpcServerPort": place.proxy_port,
        "remotingListenPort": place.remoting_port,
        "localServeAddr": place.address,
    }
    return json.dumps({**PROXY, **timing.proxy, **places}, indent=2) + "\n"


def my_cnf(places: Values) -> str:
    """Return MariaDB's configuration; `places` are datadir, socket, port, bind_address and the like."""
    lines = [f"{name} = {_switch(value, 'ON', 'OFF')}\n" for name, value in {**MARIADB, **places}.items()]
    return "[mariadbd]\n" + "".join(lines)


def init_sql(password: str, host: str = "%") -> str:
    """Return what makes databases and user; it may run at every start. `password` is of letters, digits, - and _."""
    user = f"'{DATABASE_USER}'@'{host}'"
    lines = [
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
        f"ALTER USER {user} IDENTIFIED BY '{password}';",
    ]
    for name in DATABASES:
        lines.append(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;")
        lines.append(f"GRANT ALL PRIVILEGES ON `{name}`.* TO {user};")
    lines.append(f"GRANT ALL PRIVILEGES ON `test\\_%`.* TO {user};")  # what tests make for themselves
    return "\n".join(lines) + "\n"  # an init_file has one statement a line


def redis_conf(places: Values) -> str:
    """Return redis.conf; `places` are bind, port, dir and the like."""
    return "".join(f"{name} {_switch(value, 'yes', 'no')}\n" for name, value in {**REDIS, **places}.items())


def quoted(path: str) -> str:
    """Return a path as redis.conf and my.cnf take it, whatever is in it. Neither takes a newline."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _java(value: Value) -> str:
    text = _switch(value, "true", "false").replace("\\", "\\\\")
    return "".join(c if c.isascii() else _java_escaped(c) for c in text)  # Java reads these files as Latin-1


def _java_escaped(character: str) -> str:
    """Return a character as Java writes it: by its UTF-16 units, of which those beyond U+FFFF have two."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _switch(value: Value, on: str, off: str) -> str:
    return (on if value else off) if isinstance(value, bool) else str(value)
