"""What an operator does with messages that no process settles: `orders messages`, run as a person would."""

import subprocess
import sys

from common.registry import ROLLBACK_TOPIC
from halfmessage.mq.port import MessageView, State
from lab.drill.drill_run import DrillRun
from ops.places import PACKAGES


def settle_by_hand(run: DrillRun, action: str, message_id: str) -> None:
    """Run `orders messages resend` (a dead letter) or `resume` (a parked half message). Raise `Broken`."""
    root = str(run.sut.deployment.directory.root)
    words = ["messages", "--data-dir", root, action, message_id]
    done = subprocess.run(
        [sys.executable, "-m", "ops", *words], check=False, capture_output=True, text=True, cwd=PACKAGES
    )
    run.mended(f"orders messages {action} {message_id}: {(done.stdout or done.stderr).strip()}")
    run.same("its exit code", done.returncode, 0)


def dead_rollback(run: DrillRun, key: str, *groups: str) -> MessageView | None:
    """Return the rollback with this key, once each of these groups (stock, if none is named) has given it up."""
    for view in run.console.find(key=key, state=State.DEAD, limit=10):
        given_up = {group.group for group in view.groups if group.state is State.DEAD}
        if view.message.topic == ROLLBACK_TOPIC and given_up.issuperset(groups or ("stock",)):
            return view
    return None
