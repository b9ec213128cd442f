"""`docker/` without an engine: the compose file, the Dockerfile, and one source of settings for both stacks."""

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from click.testing import CliRunner

from common import registry
from common.auth import Identity, Verifier
from common.config import Settings
from common.our_tokens import OPERATOR_SCOPES, OwnTokens
from common.own_keys import OwnPublicKeys
from gateway import binary
from ops import docker, versions
from ops.commands.docker import command
from ops.stack import settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
SCHEMA = ROOT / "tests" / "vendor" / "compose-spec" / "compose-spec.json"
ONCE = {"store-owner", "migrate", "topics", "keys", "gateway-files"}
OURS = {service.name: service.port for service in registry.PROCESSES}
SECRETS = {"ORDERS_JWT_SECRET", "MYSQL_PASSWORD", "MYSQL_ROOT_PASSWORD", "REDIS_PASSWORD"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def values(text: str) -> dict[str, str]:
    """Return name=value, name = value or `name value` lines."""
    lines = (line for line in text.splitlines() if line and not line.startswith(("#", "[", "--")))
    pairs = (re.split(r"\s*=\s*|\s+", line, maxsplit=1) for line in lines)
    return {pair[0]: pair[1] for pair in pairs}


def env_names(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{(\w+)", text))


def filled_in(value: str) -> str:
    """Return a value as compose does: ${NAME:-default} is its default, ${NAME:?error} a secret."""
    return re.sub(
        r"\$\{\w+:(?:-([\w.]*)|\?[^}]*)\}",
        lambda found: "k3X9q2L8r5W7y4H6p1G0s" * 2 if found[1] is None else found[1],
        value,
    )


class TestCompose:
    """The compose file."""

    def test_it_is_valid_by_the_specification(self, compose: dict[str, Any]) -> None:
        """The Compose Specification's own schema accepts it."""
        validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
        assert [f"{e.instance_path}: {e.message}" for e in validator.iter_errors(compose)] == []

    def test_the_schema_finds_mistakes(self, compose: dict[str, Any]) -> None:
        """What is misspelt or of the wrong kind would not pass: the check is a check."""
        validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
        order = compose["services"]["order"]
        for wrong in ({"helthcheck": {}}, {"deploy": {"resources": {"limits": {"memory": []}}}}, {"ports": 8001}):
            broken = {**compose, "services": {"order": {**order, **wrong}}}
            assert not validator.is_valid(broken)

    def test_everything_is_there(self, services: dict[str, Any]) -> None:
        """RocketMQ, its dashboard, MySQL, Redis, Prometheus, our services, and what prepares them."""
        servers = {"namesrv", "broker", "dashboard", "mysql", "redis", "prometheus", "gateway"}
        assert services.keys() == servers | OURS.keys() | ONCE
        assert services["dashboard"]["ports"] == ["127.0.0.1:${DASHBOARD_PORT:-8180}:8180"]

    def test_images_are_pinned(self, services: dict[str, Any]) -> None:
        """Every image has a tag that names a version; RocketMQ's is the one `orders stack` runs."""
        for name, service in services.items():
            _, _, tag = service["image"].partition(":")
            assert re.match(r"v?\d", tag), name
        assert services["namesrv"]["image"] == services["broker"]["image"] == f"apache/rocketmq:{versions.DEFAULT}"

    def test_who_waits_for_whom(self, services: dict[str, Any]) -> None:
        """One-shot services are waited for until they succeeded, servers until they are healthy, none in a circle."""
        for name, service in services.items():
            for other, how in service.get("depends_on", {}).items():
                wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
                assert how["condition"] == wanted, f"{name} waits for {other}"
                assert other in ONCE or "test" in services[other].get("healthcheck", {}) or other in OURS
        assert set(_upstream(services, "order")) >= {"mysql", "redis", "broker", "migrate", "topics", "stock", "goods"}
        assert set(_upstream(services, "stock")) >= {"mysql", "redis", "broker", "migrate", "topics"}

    def test_limits(self, services: dict[str, Any]) -> None:
        """Nothing may take the machine: memory and processors are limited, privileges can't grow, logs rotate."""
        for name, service in services.items():
            assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name
            assert service["logging"]["options"].keys() >= {"max-size", "max-file"}, name
            assert "privileged" not in service, name
            if name != "store-owner":  # has but one privilege, and no network
                assert "no-new-privileges:true" in service["security_opt"], name

    def test_ports_are_for_this_machine_only(self, services: dict[str, Any]) -> None:
        """What is published is published on the loopback address, on ports that .env can change."""
        for service in services.values():
            for port in service.get("ports", ()):
                assert port.startswith("127.0.0.1:${"), port

    def test_a_service_can_be_scaled(self, services: dict[str, Any]) -> None:
        """`up --scale order=2` works: no fixed name, no volume that it writes."""
        for name in OURS:
            assert not services[name].keys() & {"container_name", "hostname"}
            assert all(volume.endswith(":ro") for volume in services[name]["volumes"])

    def test_each_service_has_its_own_private_key_and_no_other(self, services: dict[str, Any]) -> None:
        """Those that call others; none can write what tells the others its key, and one container makes all of them."""
        made = {volume.partition(":")[0] for volume in services["keys"]["volumes"]} - {"keys-public", "tokens"}
        assert made == {f"keys-{owner}" for owner in (*registry.CALLERS, registry.OPERATOR, registry.MONITOR)}
        for name in OURS:
            calls = name in registry.CALLERS
            own = [f"keys-{name}:/keys/{name}:ro"] if calls else []
            assert services[name]["volumes"] == ["keys-public:/keys/public:ro", *own]
            named = services[name]["environment"].get("ORDERS_KEY_FILE")
            assert named == (f"/keys/{name}/key.json" if calls else None)
            assert "keys" in services[name]["depends_on"]
            assert services[name]["environment"]["ORDERS_PUBLIC_KEYS"] == "/keys/public/keys.json"
        directories = " ".join(rest for rest in of("RUN") if "install" in rest)
        for volume in services["keys"]["volumes"]:
            assert f"{volume.partition(':')[2]} " in f"{directories} ", volume

    def test_users_keys_outlive_containers(self, services: dict[str, Any]) -> None:
        """They are rows of user's database, which is on a named volume, as `docker compose up` again finds it."""
        assert "@mysql:3306/user?" in services["user"]["environment"]["ORDERS_DATABASE_URL"]
        assert "mysql-data:/var/lib/mysql" in services["mysql"]["volumes"]
        assert not any("/var/lib/mysql" in one for one in services["mysql"].get("tmpfs", ()))

    def test_volumes_are_named(self, compose: dict[str, Any]) -> None:
        """Data outlives its container in a named volume; what is mounted from here is read-only and exists."""
        used = set()
        for service in compose["services"].values():
            for volume in service.get("volumes", ()):
                source = volume.partition(":")[0]
                if source.startswith("./"):
                    assert (DOCKER / source).is_file(), source
                    assert volume.endswith(":ro"), volume
                else:
                    used.add(source)
        assert used == compose["volumes"].keys()

    def test_no_secret_is_in_the_files(self, services: dict[str, Any]) -> None:
        """Passwords come from .env, which git ignores; without one of them compose refuses to start."""
        text = (DOCKER / "compose.yaml").read_text()
        for name in SECRETS:
            assert set(re.findall(rf"\$\{{{name}([^}}]*)}}", text)) == {":?see .env.example"}, name
        for name, service in services.items():
            for variable, value in service.get("environment", {}).items():
                if re.search(r"PASSWORD|SECRET|AUTH", variable):
                    assert env_names(value), f"{name}: {variable}"
                assert not re.search(r"://[^/@$]*:[^$@/]+@", str(value)), f"{name}: {variable}"
        example = values((DOCKER / ".env.example").read_text().replace("=\n", "= \n"))
        assert {name for name, value in example.items() if not value} == SECRETS | {"ORDERS_TRACE"}  # which may stay so
        assert example.keys() == env_names(text)

    def test_no_secret_is_on_a_command_line(self, services: dict[str, Any]) -> None:
        """All users of the machine may read those, and `docker inspect` tells them: compose fills in none."""
        for name, service in services.items():
            for words in (service.get("command", ()), service.get("healthcheck", {}).get("test", ())):
                assert not SECRETS & env_names(" ".join(words)), name

    def test_redis_reads_its_password(self, services: dict[str, Any], tmp_path: Path) -> None:
        """As a part of its configuration, and not as a word of its command line; as its own user, not as root."""
        entrypoint = tmp_path / "docker-entrypoint.sh"
        entrypoint.write_text('#!/bin/sh\necho "$@"\ncat\n')
        entrypoint.chmod(0o755)
        words = [word.replace("$$", "$") for word in services["redis"]["command"]]
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": "k3X9-q2_L"}
        ran = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=10, check=True)
        called, read = ran.stdout.splitlines()
        assert called == "redis-server /usr/local/etc/redis/redis.conf -"
        assert read == 'requirepass "k3X9-q2_L"'

    @pytest.mark.parametrize("name", OURS)
    def test_settings_of_a_service(self, services: dict[str, Any], name: str) -> None:
        """Every ORDERS_ variable is a setting; they validate, and point at each other, the broker and the databases."""
        given = {
            variable.removeprefix("ORDERS_").lower(): filled_in(str(value))
            for variable, value in services[name]["environment"].items()
        }
        assert given.keys() <= Settings.model_fields.keys()
        known = Settings(**given)  # type: ignore[arg-type]  # pydantic parses the strings
        assert (known.environment, known.port) == ("production", OURS[name])
        assert known.host == "0.0.0.0"  # noqa: S104 - a container's network is its own
        assert known.database_url.endswith(f"@mysql:{docker.MYSQL_PORT}/{name}?charset=utf8mb4")
        assert known.broker_url == f"rocketmq://broker:{docker.PROXY_PORT}?namesrv=namesrv:{docker.NAMESRV_PORT}"
        assert known.redis_url.endswith(f"@redis:{docker.REDIS_PORT}/0")
        assert {s: getattr(known, f"{s}_url") for s in registry.NAMES} == {
            s: f"http://{s}:{OURS[s]}" for s in registry.NAMES
        }
        assert services[name]["command"] == ["python", "-m", name]
        assert services[name]["ports"][0].endswith(f":{OURS[name]}")


def _upstream(services: dict[str, Any], name: str, below: tuple[str, ...] = ()) -> Iterator[str]:
    assert name not in below, f"a circle: {below}"
    for other in services[name].get("depends_on", {}):
        yield other
        yield from _upstream(services, other, (*below, name))


class TestOneSource:
    """The settings of the servers are those of `orders stack`."""

    def test_broker(self) -> None:
        """broker.conf and rmq-proxy.json carry every setting of the stack, with RocketMQ's own times."""
        found = values((DOCKER / "rocketmq/broker.conf").read_text())
        shared = {**settings.BROKER, **settings.DEFAULT_TIMING.broker}
        assert {name: found[name] for name in shared} == {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in shared.items()
        }
        proxy = json.loads((DOCKER / "rocketmq/rmq-proxy.json").read_text())
        assert proxy.items() >= {**settings.PROXY, **settings.DEFAULT_TIMING.proxy}.items()
        assert proxy["grpcServerPort"] == docker.PROXY_PORT

    def test_the_broker_has_the_address_that_it_tells(self, compose: dict[str, Any]) -> None:
        """Clients are told a fixed IPv4 address (a name fails), which no other container can get."""
        (network,) = compose["networks"]["orders"]["ipam"]["config"]
        address = ipaddress.ip_address(docker.BROKER_ADDRESS)
        assert compose["services"]["broker"]["networks"]["orders"]["ipv4_address"] == str(address)
        assert json.loads((DOCKER / "rocketmq/rmq-proxy.json").read_text())["localServeAddr"] == str(address)
        assert values((DOCKER / "rocketmq/broker.conf").read_text())["brokerIP1"] == str(address)
        assert address in ipaddress.ip_network(network["subnet"])
        assert address not in ipaddress.ip_network(network["ip_range"])

    def test_mysql_has_connections_for_all_services(self) -> None:
        """Each may open its whole pool; four more are left for second instances, and operators."""
        given = Settings(port=1, jwt_secret="s" * 32, database_url="sqlite://", broker_url="embedded:///x")
        assert (len(registry.ALL_NAMES) + 4) * given.pool_size <= int(settings.MARIADB["max_connections"])

    def test_databases(self, services: dict[str, Any]) -> None:
        """my.cnf carries MariaDB's settings for MySQL; the databases and their user are the stack's."""
        text = (DOCKER / "mysql/my.cnf").read_text()
        assert "[mysqld]" in text
        switch = {True: "ON", False: "OFF"}
        assert values(text) == {
            name: switch[value] if isinstance(value, bool) else str(value) for name, value in settings.MARIADB.items()
        }
        sql = (DOCKER / "mysql/databases.sql").read_text()
        assert tuple(re.findall(r"CREATE DATABASE IF NOT EXISTS `(\w+)`", sql)) == settings.DATABASES
        assert f"'{services['mysql']['environment']['MYSQL_USER']}'@'%'" in sql
        assert services["mysql"]["environment"]["MYSQL_USER"] == settings.DATABASE_USER
        assert "IDENTIFIED" not in sql

    def test_redis(self) -> None:
        """redis.conf carries the stack's settings."""
        found = values((DOCKER / "redis/redis.conf").read_text())
        switch = {True: "yes", False: "no"}
        shared = {n: switch[v] if isinstance(v, bool) else str(v) for n, v in settings.REDIS.items()}
        assert found.items() >= shared.items()

    def test_memory_of_the_jvms(self, services: dict[str, Any]) -> None:
        """The JVMs have the memory they have in the stack, and fit into their containers."""
        for name, memory in (("namesrv", settings.NAMESRV_JVM), ("broker", settings.BROKER_JVM)):
            assert services[name]["environment"]["JAVA_OPT_EXT"] == docker.java_options(memory)

    def test_ports(self, services: dict[str, Any]) -> None:
        """Who is pointed at a server is pointed at a port that it listens on."""
        assert f"namesrv:{docker.NAMESRV_PORT}" in services["broker"]["command"]
        assert f"namesrv:{docker.NAMESRV_PORT}" in services["topics"]["command"]
        assert (
            f"-Drocketmq.namesrv.addr=namesrv:{docker.NAMESRV_PORT}"
            in services["dashboard"]["environment"]["JAVA_OPTS"]
        )
        assert services["broker"]["healthcheck"]["test"][3].count(f"/{docker.PROXY_PORT} ") == 1
        for file in ("broker.conf", "rmq-proxy.json"):
            assert f"./rocketmq/{file}:/etc/orders/{file}:ro" in services["broker"]["volumes"]
            assert f"/etc/orders/{file}" in services["broker"]["command"]
        assert f"broker-store:{docker.ROCKETMQ_HOME}/store" in services["broker"]["volumes"]


class TestPrometheus:
    """What Prometheus scrapes."""

    def test_every_instance_is_scraped_with_a_token(self) -> None:
        """Each service is found by name, however many instances there are, and asked with a token from a file."""
        loaded = yaml.safe_load((DOCKER / "prometheus/prometheus.yml").read_text())
        for job in loaded["scrape_configs"]:
            (found,) = job["dns_sd_configs"]
            assert (found["names"], found["port"]) == ([job["job_name"]], OURS[job["job_name"]])
            assert job["authorization"]["credentials_file"] == "/tokens/prometheus"
        assert {job["job_name"] for job in loaded["scrape_configs"]} == OURS.keys()

    def test_alerts_are_about_metrics_that_exist(self) -> None:
        """An alert on a misspelt metric never fires: each name is one that our code makes."""
        source = "".join(p.read_text() for s in ("common", *OURS) for p in (ROOT / s).rglob("*.py"))
        rules = [
            r for g in yaml.safe_load((DOCKER / "prometheus/alerts.yml").read_text())["groups"] for r in g["rules"]
        ]
        for rule in rules:
            for name in re.findall(r"\borders_(\w+?)(?:_total)?\b", rule["expr"]):
                assert f'"{name}"' in source, name
            assert rule["annotations"]["summary"]

    def test_token(self, tmp_path: Path) -> None:
        """`orders docker keys` makes keys and what Prometheus shows; `token` signs with the operator's."""
        keys, shown = str(tmp_path / "keys"), tmp_path / "tokens" / "prometheus"
        shown.parent.mkdir(mode=0o700)
        none = CliRunner().invoke(command, ["token", "root", "--keys", keys])
        assert none.exit_code != 0
        for _ in range(2):
            made = CliRunner().invoke(command, ["keys", "--keys", keys, "--metrics-token", str(shown)])
            assert made.exit_code == 0
        public = OwnPublicKeys(tmp_path / "keys" / "public" / "keys.json")
        verifier = Verifier(None, None, OwnTokens(public, "stock", OPERATOR_SCOPES["admin"]))
        assert verifier.verify(f"Bearer {shown.read_text()}") == Identity("prometheus", frozenset())
        done = CliRunner().invoke(command, ["token", "root", "--scope", "admin orders", "--keys", keys])
        assert verifier.verify(f"Bearer {done.output.strip()}") == Identity("root", frozenset({"admin"}))
        assert len(json.loads((tmp_path / "keys/public/keys.json").read_text())["keys"]) == 5
        assert shown.parent.stat().st_mode & 0o777 == 0o755


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


class TestDockerfile:
    """The rules we keep; in brackets the name of hadolint's that says the same."""

    def test_base(self) -> None:
        """Both stages start from one slim image whose tag names a version [DL3006, DL3007]."""
        bases = [rest.split()[0] for rest in of("FROM")]
        assert len(bases) == 2
        assert len(set(bases)) == 1
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])

    def test_only_the_environment_is_taken_from_the_build(self) -> None:
        """The second stage copies one thing, from the first: no sources, no caches, no pip of its own [DL3022]."""
        second = instructions()[[word for word, _ in instructions()].index("FROM", 1) :]
        assert [rest for word, rest in second if word == "COPY"] == ["--from=build /venv /venv"]
        assert "AS build" in of("FROM")[0]

    def test_who_runs(self) -> None:
        """The last user is not root, and is given by number, so that a cluster can check it [DL3002]."""
        assert of("USER")[-1] == "10001:10001"

    def test_who_enters_its_directories(self, services: dict[str, Any]) -> None:
        """One that a service of another image mounts can be entered by others, or that service is our user."""
        (run,) = (run for run in of("RUN") if "install --directory" in run)
        modes = {
            directory: int(mode, 8)
            for mode, listed in re.findall(r"--mode=(\d+)((?: +/[^\s&]+)+)", run)
            for directory in listed.split()
        }
        assert {"/tokens", "/gateway", "/keys"} <= modes.keys()
        read = {
            (name, place)
            for name, service in services.items()
            if "image" in service and service.get("user") != of("USER")[-1]
            for place in (str(volume).split(":")[1] for volume in service.get("volumes", ()))
            if place in modes
        }
        ours = {name for name, service in services.items() if "build" in service}
        others = {(name, place) for name, place in read if name not in ours}
        assert ("prometheus", "/tokens") in others
        assert {(name, place) for name, place in others if not modes[place] & 0o001} == set()

    def test_how_it_starts_and_stops(self) -> None:
        """Commands are lists, so that signals reach Python [DL3025]; it is asked to stop gracefully."""
        for start in of("CMD"):
            assert json.loads(start)[:2] == ["python", "-m"]
        assert of("ENTRYPOINT") == []
        assert of("STOPSIGNAL") == ["SIGTERM"]

    def test_health(self) -> None:
        """Health is what /readyz says, asked by Python: the image has no curl [DL3055]."""
        (check,) = of("HEALTHCHECK")
        python, _, program = json.loads(check.partition(" CMD ")[2])
        assert python == "python"
        assert "/readyz" in program
        compile(program, "HEALTHCHECK", "exec")

    def test_instructions(self) -> None:
        """COPY, not ADD; absolute WORKDIR; pip constrained and without cache; no sudo, no upgrade; one CMD, one check.

        [DL3020, DL3000, DL3013, DL3042, DL3004, DL3005, DL4003, DL3012]
        """
        assert not of("ADD")
        assert not of("MAINTAINER")
        assert all(place.startswith("/") for place in of("WORKDIR"))
        assert len(of("CMD")) == len(of("HEALTHCHECK")) == 1
        for run in of("RUN"):
            assert not re.search(r"\b(sudo|apt-get upgrade|dist-upgrade|curl|wget)\b", run)
            if "pip install" in run:
                assert "--no-cache-dir" in run
                assert "--constraint constraints.txt" in run

    def test_the_client_of_a_real_broker_is_installed(self) -> None:
        """The image has what `rocketmq://` needs, which is an extra of the package."""
        configuration = ConfigParser()
        configuration.read(ROOT / "setup.cfg")
        assert "rocketmq-python-client" in configuration["options.extras_require"]["rocketmq"]
        assert any('".[rocketmq,stripe,trace,wechat]"' in run for run in of("RUN"))

    def test_what_is_copied_exists(self) -> None:
        """Every source is there, every package of ours is among them, and the ignore file lets them in."""
        sources = {s for rest in of("COPY") if "--from" not in rest for s in rest.split()[:-1]}
        assert all((ROOT / source).exists() for source in sources)
        packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"lab", "tests"}
        assert sources >= packages
        allowed = {
            line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
        }
        assert allowed == sources

    def test_secrets_stay_out(self) -> None:
        """Neither instruction nor environment names a secret, and git ignores the file that holds them."""
        assert not re.search(r"SECRET|PASSWORD|TOKEN=", (DOCKER / "Dockerfile").read_text())
        ignored = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=ROOT, check=False)
        assert ignored.returncode == 0


class TestCommands:
    """What the containers run once."""

    def test_gateway(self, tmp_path: Path) -> None:
        """Caddy takes what the container is given; its version is the image's, its port the one that is published."""
        done = CliRunner().invoke(command, ["gateway", str(tmp_path)])
        assert done.exit_code == 0, done.output
        validated = [str(binary.find()), "validate", "--config", str(tmp_path / "caddy.json")]
        subprocess.run(validated, check=True, capture_output=True, timeout=60, env={"HOME": str(tmp_path)})
        compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
        assert compose["gateway"]["image"] == f"caddy:{binary.VERSION}"
        config = json.loads((tmp_path / "caddy.json").read_text())
        assert config["apps"]["http"]["servers"]["public"]["listen"] == [f"0.0.0.0:{registry.GATEWAY.port}"]
        address = compose["gateway"]["networks"]["orders"]["ipv4_address"]
        assert compose["user"]["environment"]["ORDERS_PROXY_NETWORKS"] == f"{address}/32"
        assert (tmp_path / "files" / "docs" / "index.html").is_file()

    def test_migrate(self, tmp_path: Path) -> None:
        """`orders docker migrate` migrates all of them, and says which address is missing."""
        urls = {f"{name.upper()}_DATABASE_URL": f"sqlite:///{tmp_path}/{name}.db" for name in OURS}
        done = CliRunner().invoke(command, ["migrate"], env=urls)
        assert done.exit_code == 0, done.output
        assert all((tmp_path / f"{name}.db").exists() for name in OURS)
        refused = CliRunner().invoke(command, ["migrate"], env={**urls, "STOCK_DATABASE_URL": ""})
        assert "STOCK_DATABASE_URL" in str(refused.exception)
