"""The deployments that drills play on: private ones, started when a drill wants one, shared while that is safe."""

import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab.drill.backing import Backing, Embedded
from lab.drill.profiles import Profile
from lab.drill.sut import SystemUnderTest
from lab.redis_server import EVERYSEC, RedisServer, any_program
from ops.deployment import Deployment, Plan, free_port_base
from ops.errors import CommandFailed

_MARK = "drills-own"
_READY_WITHIN = 60.0  # seconds
_PREPARING = threading.Lock()  # Alembic keeps what it is doing in one place for the whole process


def claim_directory(data_dir: Path) -> Path:
    """Return a directory that drills may use, made if it is missing.

    Raise `CommandFailed` for one that holds anything that drills did not make.
    """
    own = not data_dir.exists() or (data_dir / _MARK).is_file() or _is_empty(data_dir)
    if not own:
        raise CommandFailed(
            f"{data_dir} is not a drill's own: drills kill processes, cut connections and fill disks, so they touch "
            "only deployments that they started themselves. Name a new or empty directory, or none."
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / _MARK).write_text(
        "Made by `./scripts/drill`, which may do to it whatever it likes.\n", encoding="ascii"
    )
    return data_dir


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


class Slot:
    """One deployment at a time, in directories of its own below `root`."""

    def __init__(
        self, root: Path, *, backing: Backing | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Nothing is started yet. `backing` gives deployments their servers; none: embedded ones."""
        self._root, self._say = root, say
        self._backing = backing or Embedded()
        self._number = 0
        self._profile: Profile | None = None
        self._sut: SystemUnderTest | None = None
        self._redis: RedisServer | None = None

    @property
    def backing(self) -> Backing:
        """What deployments here run on."""
        return self._backing

    @property
    def profile(self) -> Profile | None:
        """The profile of the deployment that runs."""
        return self._profile

    @property
    def directory(self) -> Path:
        """Where the deployment is that runs, or ran last."""
        name = self._profile.name if self._profile else "none"
        return self._root / f"{self._number}-{name}"

    def sut(self, profile: Profile) -> SystemUnderTest:
        """Return a running system under test with this profile, every process of it ready. Raise `CommandFailed`."""
        if self._sut is not None and self._profile is not profile:
            self.drop()
        if self._sut is None:
            self._profile, self._number = profile, self._number + 1
            self._sut = self._start(profile)
        supervisor = self._sut.supervisor
        for name in self._sut.deployment.plan.processes:
            supervisor.release(name)
        supervisor.wait_ready(within=_READY_WITHIN)
        return self._sut

    def drop(self, *, keep: bool = False) -> None:
        """Stop the deployment and delete its data, unless it is to be kept as evidence. Again: nothing."""
        if self._sut is None or self._profile is None:
            return
        sut, self._sut = self._sut, None
        sut.__exit__()
        sut.deployment.stop()
        self._end_redis()
        self._backing.give_back(self.directory, keep=keep)
        if self._profile.megabytes is not None:
            _unmount(self.directory, keep=keep)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def close(self) -> None:
        """Stop everything."""
        self.drop()
        self._backing.close()

    def _start(self, profile: Profile) -> SystemUnderTest:
        self.directory.mkdir(parents=True)
        if profile.megabytes is not None:
            _mount(self.directory, profile.megabytes)
        servers = self._backing.servers(self.directory, profile)
        extra = {**profile.extra, **self._backing.settings(profile), **self._own_redis(profile)}
        plan = Plan(
            free_port_base(profile.instances),
            profile.pay_timeout,
            extra,
            profile.instances,
            servers,
            console=profile.console,
        )
        deployment = Deployment(self.directory, plan, say=self._say, patience=profile.patience)
        try:
            with _PREPARING:
                deployment.prepare()
            deployment.start()
            return SystemUnderTest(deployment, self._redis)
        except BaseException:
            with suppress(CommandFailed):
                deployment.stop()
            self._end_redis()
            raise

    def _own_redis(self, profile: Profile) -> dict[str, str]:
        """Start the Redis that a profile wants; return the settings that name it. Raise `CommandFailed`."""
        if not profile.redis:
            return {}
        self._redis = RedisServer(any_program(), self.directory / "redis", EVERYSEC)
        return {"pieces_url": self._redis.url}

    def _end_redis(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None


def _mount(directory: Path, megabytes: int) -> None:
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "orders-drill", str(directory)]
    done = subprocess.run(["mount", *options], check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"No small disk could be mounted: {done.stderr.strip()}")


def _unmount(directory: Path, *, keep: bool) -> None:
    if keep:
        shutil.copytree(directory, directory.with_name(f"{directory.name}-kept"), dirs_exist_ok=True)
    subprocess.run(["umount", "--lazy", str(directory)], check=False, capture_output=True)
