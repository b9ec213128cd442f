"""Where a stack keeps its things, and how each server is started there."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ops.errors import CommandFailed
from ops.places import check_path
from ops.stack import etcd, jars, render, settings
from ops.stack.daemons import Program
from ops.stack.packages import Programs
from ops.stack.plan import HOST, StackPlan, write_private
from ops.stack.settings import Values

OURS = frozenset({"stack.json", "etc", "run", "log", "rocketmq", "mariadb", "mariadb.new", "redis", "etcd"})
_LONGEST_SOCKET = 100  # bytes; the kernel takes 107 (unix(7))


@dataclass(frozen=True, slots=True)
class Layout:
    """One stack's data directory; `root` is absolute."""

    root: Path

    def __post_init__(self) -> None:
        """Raise `CommandFailed` for a path that a server can't use: before anything is written."""
        check_path(self.root)
        if found := [c for c in str(self.root) if c in settings.FORBIDDEN_IN_PATHS or not c.isprintable()]:
            raise CommandFailed(f"The path of a stack can't have {found[0]!r} in it; choose another --data-dir.")

    @property
    def plan_file(self) -> Path:
        """Ports, times and password; what makes a directory ours."""
        return self.root / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Held while something is started or stopped."""
        return self.root / "run" / "lock"

    @property
    def home(self) -> Path:
        """What the JVMs take for the user's home: RocketMQ writes its logs there."""
        return self.root / "rocketmq" / "home"

    @property
    def socket(self) -> Path:
        """MariaDB's socket; elsewhere where the data directory's name is too long for one."""
        inside = self.root / "run" / "mariadb.sock"
        if len(os.fsencode(inside)) <= _LONGEST_SOCKET:
            return inside
        return Path(tempfile.gettempdir()) / f"orders-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]}.sock"

    @property
    def temporary(self) -> Path:
        """Where MariaDB has its temporary tables: one that starts deletes those of all that share the directory."""
        return self.root / "run" / "mariadb.tmp"

    def strangers(self) -> list[str]:
        """Return what is in the directory and not ours."""
        return sorted(path.name for path in self.root.iterdir() if path.name not in OURS) if self.root.exists() else []

    def make(self) -> None:
        """Create the directories. Raise `CommandFailed`, also where the directory is somebody else's."""
        if not self.plan_file.exists() and (strangers := self.strangers()):
            raise CommandFailed(f"{self.root} holds {strangers[0]!r} and no stack; choose another --data-dir.")
        try:
            for folder in (
                "etc",
                "run",
                "log",
                "redis",
                "rocketmq/home/conf",
            ):  # the proxy makes a file in conf, not conf
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise CommandFailed(f"{error.filename}: {error.strerror}; choose another --data-dir.") from error

    def render(self, plan: StackPlan) -> None:
        """Write every configuration file."""
        place = render.BrokerPlace(
            namesrv=f"{HOST}:{plan.ports.namesrv}",
            address=HOST,
            bind=HOST,
            store=str(self.root / "rocketmq" / "store"),
            broker_port=plan.ports.broker,
            ha_port=plan.ports.ha,
            proxy_port=plan.ports.proxy,
            remoting_port=plan.ports.remoting,
        )
        files = {
            "namesrv.conf": render.namesrv_conf(plan.ports.namesrv, str(self.home)),
            "broker.conf": render.broker_conf(place, plan.timing),
            "rmq-proxy.json": render.proxy_json(place, plan.timing),
            "my.cnf": render.my_cnf(self._mariadb_places(plan)),
            "init.sql": render.init_sql(plan.password, HOST),
            "redis.conf": render.redis_conf(self._redis_places(plan)),
        }
        for name, text in files.items():
            write_private(self.etc(name), text)

    def etc(self, name: str) -> Path:
        """Return the path of a configuration file."""
        return self.root / "etc" / name

    def program(self, server: str, plan: StackPlan, programs: Programs) -> Program:
        """Return how to start a server."""
        match server:
            case "namesrv":
                start = ("org.apache.rocketmq.namesrv.NamesrvStartup", "-c", str(self.etc("namesrv.conf")))
                return self._java(plan, programs, settings.NAMESRV_JVM, *start)
            case "broker":
                return self._java(
                    plan,
                    programs,
                    settings.BROKER_JVM,
                    *("org.apache.rocketmq.proxy.ProxyStartup", "-pm", "local"),
                    *("-n", f"{HOST}:{plan.ports.namesrv}"),
                    *("-bc", str(self.etc("broker.conf")), "-pc", str(self.etc("rmq-proxy.json"))),
                )
            case "mariadb":
                return Program(programs.mariadbd, ("mariadbd", f"--defaults-file={self.etc('my.cnf')}"))
            case "redis":
                return Program(programs.redis, ("redis-server", str(self.etc("redis.conf"))))
            case "etcd" if (found := etcd.program()) is not None:
                return Program(found, etcd.arguments(self.root / "etcd", HOST, plan.etcd))
        raise CommandFailed(f"There is no server {server!r}: {', '.join(settings.SERVERS)}.")

    def make_mariadb(self, programs: Programs) -> None:
        """Make MariaDB's data directory, if there is none; it appears whole or not at all. Raise `CommandFailed`."""
        draft, final = self.root / "mariadb.new", self.root / "mariadb"
        self.temporary.mkdir(parents=True, exist_ok=True)
        if final.exists():
            return
        shutil.rmtree(draft, ignore_errors=True)
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [programs.mariadb_install_db, "--no-defaults", *as_root, f"--datadir=./{draft.name}", "--skip-test-db"],
            cwd=self.root,  # the script breaks a path at its blanks
            env={**os.environ, "TMPDIR": str(self.temporary)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise CommandFailed(f"mariadb-install-db failed: {said}")
        draft.rename(final)

    def _java(self, plan: StackPlan, programs: Programs, memory: tuple[str, ...], *words: str) -> Program:
        arguments = (
            "java",
            *memory,
            *settings.JVM_MODULES,
            f"-Duser.home={self.home}",
            f"-XX:ErrorFile={self.root}/log/java-%p.log",
            *("-cp", jars.classpath(plan.rocketmq)),
            *words,
        )
        return Program(programs.java, arguments, {"ROCKETMQ_HOME": str(self.home)})

    def _mariadb_places(self, plan: StackPlan) -> Values:
        return {
            "datadir": render.quoted(str(self.root / "mariadb")),
            "socket": render.quoted(str(self.socket)),
            "tmpdir": render.quoted(str(self.temporary)),
            "pid_file": render.quoted(str(self.root / "run" / "mariadb.pid")),
            "init_file": render.quoted(str(self.etc("init.sql"))),
            "bind_address": HOST,
            "port": plan.ports.mariadb,
            **({"user": "root"} if os.geteuid() == 0 else {}),  # it refuses to be root unless told
        }

    def _redis_places(self, plan: StackPlan) -> Values:
        return {"bind": HOST, "port": plan.ports.redis, "dir": render.quoted(str(self.root / "redis"))}
