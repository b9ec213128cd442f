"""The gateway of a deployment: what its process is told, what services are told of it, and its reload."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from common.registry import GATEWAY
from ops.child import ProcessSpec, python_module
from ops.errors import CommandFailed
from ops.places import PACKAGES, DataDir
from ops.plan import DISCOVERY_FILES, HOST, Plan

_RENDERED_WITHIN = 90.0  # seconds; each service that is down costs one


def spec(plan: Plan, directory: DataDir) -> ProcessSpec:
    """Return what the supervisor runs."""
    return python_module(GATEWAY.name, GATEWAY.name, environment(plan, directory), plan.ports[GATEWAY.name])


def environment(plan: Plan, directory: DataDir) -> Mapping[str, str]:
    """Return the settings of its process (`gateway.settings`); others may be set by their variables."""
    told = {
        "host": HOST,
        "port": plan.ports[GATEWAY.name],
        "admin_port": plan.admin_port,
        "admin": "separate" if plan.gateway and plan.gateway.separate else "together",
        "tls": str(bool(plan.gateway and plan.gateway.tls)).lower(),
        "dir": directory.gateway,
        "log_dir": directory.log("gateway").parent,
        "services": ",".join(plan.services),
    }
    list_of_instances = {
        "ORDERS_DISCOVERY": str(plan.extra.get("discovery", directory.discovery_url)),
        "ORDERS_DISCOVERY_FILE": str(directory.last_known(GATEWAY.name)),
        **{f"ORDERS_{name.upper()}": str(plan.extra[name]) for name in DISCOVERY_FILES if name in plan.extra},
    }
    bound = {"ORDERS_MAX_BODY": str(plan.extra["max_body"])} if "max_body" in plan.extra else {}
    urls = {f"ORDERS_{service.upper()}_URL": plan.addresses(service) for service in plan.services}
    return (
        {f"ORDERS_GATEWAY_{name.upper()}": str(value) for name, value in told.items()}
        | bound
        | urls
        | list_of_instances
    )


def told_to_services(plan: Plan) -> Mapping[str, str]:
    """Return the settings that services have because there is a gateway before them."""
    if plan.gateway is None:
        return {}
    return {"ORDERS_PROXIES": "1", "ORDERS_PUBLIC_BASE": plan.urls[GATEWAY.name]}


def reload(plan: Plan, directory: DataDir, pid: int) -> None:
    """Write the configuration anew, as the services tell their calls now, and have Caddy take it without a pause.

    Caddy reads the file that it was started with again at SIGUSR1 (https://caddyserver.com/docs/command-line#signals);
    calls under way end as they began, kept connections are closed. Raise `CommandFailed`; then all is as before.
    """
    done = subprocess.run(
        [sys.executable, "-m", GATEWAY.name, "--render"],
        env={**os.environ, **environment(plan, directory)},
        cwd=PACKAGES,
        capture_output=True,
        text=True,
        timeout=_RENDERED_WITHIN,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(done.stderr.strip() or "The gateway's configuration could not be written.")
    os.kill(pid, signal.SIGUSR1)
