"""RocketMQ's admin tool (MQAdminStartup of rocketmq-tools).

Each call starts a JVM, and the tool takes its time to stop its client: measured 0.7 s for its start and 5 to 6 s for
any call that talks to the cluster. Calls are independent: several at once take as long as one.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from halfmessage.mq.rocketmq_console.message import StoredMessage
from ops.errors import CommandFailed
from ops.stack import admin_output, settings
from ops.stack.admin_output import Progress

_MAIN = "org.apache.rocketmq.tools.command.MQAdminStartup"
_LONGEST = 60.0  # seconds
_AT_ONCE = 4  # JVMs
# The tool exits with 0 whatever happened, and tells failures on stderr. These are answers, not failures:
# ResponseCode.QUERY_NOT_FOUND is 22, but the client throws 208; 206: a group that never consumed.
_NOTHING = re.compile(r"no message\.|CODE: 20[68]")
# Its own patience is short on a busy machine:
_TOO_SLOW = re.compile(r"wait response on the channel .* timeout|invokeSync call the addr\S* timeout")
_TRIES = 3
_NO_TOPIC = re.compile(r"No topic route info|not matched route info|CODE: 17 ")


class Admin:
    """Runs commands of the tool against the cluster of one name server. Every method raises `CommandFailed`."""

    def __init__(self, namesrv: str, home: Path, java: str, classpath: str) -> None:
        """Take the name server as host:port, what the tool takes for the user's home, and the jars it is in."""
        self._namesrv, self._home, self._java, self._classpath = namesrv, home, java, classpath

    def message(self, topic: str, message_id: str) -> StoredMessage | None:
        """Return a message by its id; None if there is none."""
        fields = admin_output.message_fields(self._ask("queryMsgByUniqueKey", "-t", topic, "-i", message_id))
        if not fields:
            return None
        # The tool writes the body to a file in /tmp and nowhere else
        file = Path(fields["Message Body Path"])
        try:
            body = file.read_bytes()
            file.unlink()
        except OSError as error:
            raise CommandFailed(
                f"The admin tool's copy of the body can't be read: {file}: {error.strerror}."
            ) from error
        return replace(admin_output.one_message(message_id, fields, body), topic=topic)

    def messages_by_id(self, topic: str, message_id: str) -> list[StoredMessage]:
        """Return the message with an id, of a half message that of its last check."""
        found = self.message(topic, message_id)
        return [] if found is None else [found]

    def message_ids(self, topic: str, key: str) -> list[str]:
        """Return the ids of the messages with a key. Open half messages are in topic `HALF_TOPIC` of admin_output."""
        return admin_output.ids(self._ask("queryMsgByKey", "-t", topic, "-k", key))

    def messages_by_key(self, topic: str, key: str) -> list[StoredMessage]:
        """Return the messages with a key."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda message_id: self.message(topic, message_id), self.message_ids(topic, key))
            return [message for message in found if message is not None]

    def messages(self, topic: str) -> list[StoredMessage]:
        """Return every message that a topic keeps; a topic that does not exist (yet) has none."""
        return admin_output.printed_messages(self._ask("printMsg", "-t", topic))

    def dead_letters(self, group: str) -> list[StoredMessage]:
        """Return what a consumer group gave up. Those that were resent still lie there: RocketMQ deletes by age."""
        return self.messages(f"%DLQ%{group}")

    def parked(self) -> list[StoredMessage]:
        """Return the half messages that were checked back in vain, as often as the broker does."""
        return self.messages(admin_output.PARKED_TOPIC)

    def consumer_progress(self, group: str) -> list[Progress]:
        """Return how far a group is with each queue; empty for one that never consumed."""
        return admin_output.progress(self._ask("consumerProgress", "-g", group))

    def run(self, command: str, *arguments: str) -> str:
        """Run any command and return all that it printed, failures too."""
        done = self._start(command, *arguments)
        return done.stdout + done.stderr

    def _ask(self, command: str, *arguments: str) -> str:
        done = self._start(command, *arguments)
        for _ in range(_TRIES - 1):
            if not _TOO_SLOW.search(done.stderr):
                break
            done = self._start(command, *arguments)
        if "Exception" in done.stderr and not (_NOTHING.search(done.stderr) or _NO_TOPIC.search(done.stderr)):
            causes = re.findall(r"^Caused by: \S+?: (.*)$", done.stderr, re.MULTILINE)
            raise CommandFailed(f"mqadmin {command}: {causes[-1] if causes else done.stderr.splitlines()[0]}")
        return done.stdout

    def _start(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [
            self._java,
            *settings.ADMIN_JVM,
            f"-Duser.home={self._home}",
            *("-cp", self._classpath, _MAIN, command, "-n", self._namesrv),
            *arguments,
        ]
        try:
            return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_LONGEST, cwd=self._home)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandFailed(f"mqadmin {command} did not answer: {error}.") from error
