"""Further instances of a deployment's services, started elsewhere on its machine: in a data directory of their own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ops import runstate
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.places import DataDir
from ops.plan import Plan, free_port_base

_STATIC = ("", "static")


def plan_of(main: Path, instances: Mapping[str, int], port_base: int | None) -> Plan:
    """Return the plan of so many further instances of the deployment in `main`; ports from None: free ones.

    Raise `NoDeployment` where none runs there, `CommandFailed` where no caller would find them.
    """
    joined = Deployment.find(main)
    joined.require_running()
    if joined.plan.joined:
        raise CommandFailed(f"{main} is itself part of {joined.plan.joined}: join that one.")
    if str(joined.plan.extra.get("discovery", "embedded")) in _STATIC:
        raise CommandFailed(f"The deployment in {main} runs with ORDERS_DISCOVERY=static: no process would find them.")
    if strangers := sorted(instances.keys() - set(joined.plan.services)):
        raise CommandFailed(f"The deployment in {main} has no {strangers[0]}.")
    return replace(
        joined.plan,
        port_base=port_base or free_port_base(instances),
        instances=dict(instances),
        console=False,
        gateway=None,
        joined=str(joined.directory.root),
    )


def take_keys(directory: DataDir, main: DataDir) -> None:
    """Give a data directory the secret and the keys of the deployment that it is to be part of; the latter as a link.

    So they are rotated for both. Raise `CommandFailed` where it has others: it is a deployment of its own.
    """
    keys = directory.root / "keys"
    has_others = keys.exists() and not keys.samefile(main.root / "keys")
    if has_others or ((directory.root / "secret").exists() and directory.secret() != main.secret()):
        raise CommandFailed(f"{directory.root} is a deployment of its own: choose another --data-dir.")
    if not keys.exists():
        directory.make_root()
        keys.symlink_to((main.root / "keys").absolute(), target_is_directory=True)
    directory.make(main.secret())


def refuse_part(data_dir: Path) -> None:
    """Raise `CommandFailed` where a data directory holds further instances of another deployment."""
    state = runstate.load(DataDir(data_dir.absolute()).state_file)
    if state is not None and (main := Plan.from_settings(state.settings).joined):
        raise CommandFailed(
            f"{data_dir} is part of the deployment in {main}: say --join, or choose another --data-dir."
        )
