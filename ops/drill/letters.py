"""What an operator does with messages that nobody settles: `orders messages`, run as a person would."""

import subprocess
import sys

from common.events import ROLLBACK_TOPIC
from common.mq.port import MessageView, State
from ops.drill.scene import Scene
from ops.places import PACKAGES


def settle_by_hand(scene: Scene, action: str, message_id: str) -> None:
    """Run `orders messages resend` (a dead letter) or `resume` (a parked half message). Raise `Broken`."""
    root = str(scene.site.deployment.place.root)
    words = ["messages", "--data-dir", root, action, message_id]
    done = subprocess.run(
        [sys.executable, "-m", "ops", *words], check=False, capture_output=True, text=True, cwd=PACKAGES
    )
    scene.mended(f"orders messages {action} {message_id}: {(done.stdout or done.stderr).strip()}")
    scene.same("its exit code", done.returncode, 0)


def dead_rollback(scene: Scene, key: str) -> MessageView | None:
    """Return the dead rollback with this key, if there is one."""
    found = scene.console.find(key=key, state=State.DEAD, limit=10)
    return next((view for view in found if view.message.topic == ROLLBACK_TOPIC), None)
