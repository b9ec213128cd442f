"""Where things are: the data directory and the files in it (docs/architecture.md lists them)."""

import os
import secrets
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import registry
from halfmessage.paths import EMBEDDED, SQLITE, file_url
from ops.belonging import LOCK, belongs
from ops.errors import AlreadyRunning, CommandFailed, NoDeployment
from ops.runstate import RunLock, RunState, load

if TYPE_CHECKING:
    from ops.keys import KeyStore

PACKAGES = Path(__file__).resolve().parents[1]  # where our packages are: the clone, or site-packages
_MARK = "run/state.json"
_OURS = frozenset(
    {"run", "log", "drills", "gateway", "keys", "secret", "broker.db", *(f"{name}.db" for name in registry.ALL_NAMES)}
)
_STACK = "stack"  # the default place of `orders stack`, which looks after it itself
_LONGEST = 400  # bytes of a data directory's path: SQLite opens files of 511 (MAX_PATHNAME of its os_unix.c)
_SECRET_LENGTH = 32  # characters, at least: as `common.config` wants it
_SQLITE_TAILS = ("-wal", "-shm", "-journal")


def default_data_dir() -> Path:
    """Return `var` in the clone: the one we were installed from, else the one the current directory is in."""
    here = Path.cwd()
    for place in (PACKAGES, here, *here.parents):
        if (place / "setup.cfg").is_file() and (place / "ops").is_dir():
            return place / "var"
    return here / "var"


def check_path(root: Path) -> None:
    """Raise `CommandFailed` for a data directory whose path SQLite or a variable of a process can't hold."""
    name = os.fsencode(root)
    if len(name) > _LONGEST:
        raise CommandFailed(f"The path of the data directory has {len(name)} bytes; at most {_LONGEST} work.")
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandFailed(f"The path of the data directory is no UTF-8: {name!r}.") from None


@dataclass(frozen=True, slots=True)
class DataDir:
    """One deployment's data directory; `root` is absolute."""

    root: Path

    def __post_init__(self) -> None:
        """Raise `CommandFailed` for a path that can't be used: before anything is written."""
        check_path(self.root)

    @property
    def state_file(self) -> Path:
        """What `orders status` shows."""
        return self.root / _MARK

    @property
    def lock(self) -> RunLock:
        """The supervisor's lock."""
        return RunLock(self.root / LOCK)

    def has_process(self, pid: int | None) -> bool:
        """Whether a process runs and belongs to this directory: neither a stranger nor one of a copied directory."""
        return pid is not None and belongs(pid, self.root / LOCK)

    def log(self, name: str) -> Path:
        """Return the log of a process, or of the `supervisor`."""
        return self.root / "log" / f"{name}.log"

    @property
    def gateway(self) -> Path:
        """The gateway's configuration, and Caddy's own files."""
        return self.root / "gateway"

    @property
    def root_certificate(self) -> Path:
        """The certificate of the authority that signs the gateway's own, where it serves HTTPS."""
        return self.gateway / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    @property
    def broker_url(self) -> str:
        """The embedded broker."""
        return file_url(EMBEDDED, self.root / "broker.db")

    def database_url(self, service: str) -> str:
        """Return the URL of a service's database."""
        return file_url(SQLITE, self.root / f"{service}.db")

    @property
    def discovery_url(self) -> str:
        """The list of instances on this machine."""
        return file_url(EMBEDDED, self.root / "run" / "instances")

    def last_known(self, name: str) -> Path:
        """Return where a process keeps the list of instances that it knew last."""
        return self.root / "run" / "discovery" / f"{name}.json"

    def user_keys(self, name: str) -> Path:
        """Return where a process keeps the public keys that the user service told it last."""
        return self.root / "run" / "user-keys" / f"{name}.json"

    def hint(self, command: str) -> str:
        """Return how to run a command on this data directory, as it works when pasted where we are."""
        name, _, rest = command.partition(" ")
        script = PACKAGES / "scripts" / name
        if not script.is_file():
            words = ["orders", command]
        elif script.is_relative_to(here := Path.cwd()):
            words = [shlex.quote(f"./{script.relative_to(here)}"), rest]
        else:
            words = [shlex.quote(str(script)), rest]
        if self.root != default_data_dir().absolute():
            words += ["--data-dir", shlex.quote(str(self.root))]
        return " ".join(filter(None, words))

    @property
    def keys(self) -> "KeyStore":
        """The keys of the deployment's own processes."""
        from ops.keys import KeyStore  # noqa: PLC0415 - loads cryptography, which few commands need

        return KeyStore(self.root / "keys")

    @property
    def takes_hs256(self) -> bool:
        """Whether tokens of the secret are taken: where the deployment was made when there were no others."""
        return self._of_before.exists()

    def refuse_hs256(self) -> None:
        """Have tokens of the secret taken no more, from the next start on. Again: nothing. Raise `OSError`."""
        self._of_before.unlink(missing_ok=True)

    @property
    def _of_before(self) -> Path:
        return self.root / "keys" / "hs256"

    def make_root(self) -> None:
        """Create the directory itself, for its owner alone; one that is there keeps its mode. Raise `OSError`."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make(self, secret: str | None = None) -> None:
        """Create the directory, the keys and the secret (`secret`; None: a new one), if they are missing.

        Raise `CommandFailed`.
        """
        try:
            self.make_root()
            for folder in ("run", "log"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            self._make_keys()
            if not (self.root / "secret").exists():  # last: with a secret and no keys, it would be one of before
                _write_secret(self.root / "secret", secret or secrets.token_urlsafe(48))
        except OSError as error:
            raise CommandFailed(
                f"{error.filename or self.root}: {error.strerror}; choose another place with --data-dir."
            ) from error

    def _make_keys(self) -> None:
        """Make keys that are missing; where a secret has none beside it, its tokens go on."""
        if (self.root / "secret").exists() and not self.keys.public.exists():
            self._of_before.parent.mkdir(mode=0o700, exist_ok=True)
            self._of_before.touch()
        self.keys.ensure((*registry.ALL_NAMES, registry.OPERATOR))

    def make_private(self, name: str) -> None:
        """Create a file that only its owner may read, or make it one. Raise `OSError`.

        SQLite gives the files beside a database the same mode (https://www.sqlite.org/wal.html).
        """
        path = self.root / name
        path.touch(mode=0o600)
        path.chmod(0o600)

    def secret(self) -> str:
        """Return the deployment's secret. Raise `NoDeployment`, or `CommandFailed` where it is damaged."""
        path = self.root / "secret"
        try:
            found = path.read_text(encoding="ascii", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise NoDeployment(f"There is no deployment in {self.root}: start one with: {self.hint('up')}") from None
        if len(found) < _SECRET_LENGTH or not found.isascii():
            raise CommandFailed(
                f"{path} holds no secret of ours: restore it, or begin anew with: {self.hint('up --reset')}"
            )
        return found

    def state(self) -> RunState:
        """Return how the deployment runs, or ran. Raise `NoDeployment` where none was ever started here."""
        self.secret()
        state = load(self.state_file)
        if state is None:
            raise NoDeployment(f"There is no deployment in {self.root}: start one with: {self.hint('up')}")
        return state

    def reset(self) -> None:
        """Delete the data of a stopped deployment.

        Raise `AlreadyRunning` while it runs, `CommandFailed` if the directory holds anything that isn't ours.
        """
        if not self.root.exists():
            return
        if (pid := self.lock.holder()) is not None:
            raise AlreadyRunning(
                f"{self.root} is run by process {pid}: before --reset, stop it with: {self.hint('down')}"
            )
        found = sorted(path for path in self.root.iterdir() if path.name != _STACK)
        strangers = [path.name for path in found if not _is_ours(path.name)]
        if strangers or (found and not (self.root / "secret").is_file()):
            what = f"it holds {strangers[0]!r}" if strangers else "it has no secret file"
            raise CommandFailed(f"{self.root} does not look like a data directory of ours ({what}): nothing deleted.")
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _is_ours(name: str) -> bool:
    for tail in _SQLITE_TAILS:
        name = name.removesuffix(tail)
    return name in _OURS or name.startswith("broker.db")


def _write_secret(path: Path, secret: str) -> None:
    """Write it whole or not at all: another process may start at the same moment."""
    draft = path.with_name(f"secret.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secret}\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
