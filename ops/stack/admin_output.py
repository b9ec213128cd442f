"""What RocketMQ's admin tool prints, understood. It has no other form than text for people."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from halfmessage.mq.rocketmq_console.message import StoredMessage
from ops.errors import CommandFailed

PARKED_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC"
HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC"

_PRINTED = re.compile(
    r"^MSGID: (?P<id>\S+) MessageExt \[.*? reconsumeTimes=(?P<times>\d+),.*?"
    r"Message\{topic='(?P<topic>[^']*)', flag=\d+, properties=\{(?P<properties>.*?)\}, "
    r"body=\[(?P<body>[-\d, ]*)\], transactionId='[^']*'\}\]",
    re.MULTILINE | re.DOTALL,
)
_STORED = re.compile(r"storeTimestamp=(\d+)")
_PLACE = re.compile(r"queueId=(\d+), .*?queueOffset=(\d+)")
# A property's name has no comma and no "=": a ", " that no "name=" follows belongs to the value before it.
_NEXT_PROPERTY = re.compile(r", (?=[^,={}\s]+=)")
_FIELD = re.compile(r"^([A-Z][A-Za-z ]+?):\s+(.*)$", re.MULTILINE)
# The id, queue and offset; 5.4.0 prints the index's key behind them.
_ROW_OF_KEY = re.compile(r"^([0-9A-F]{32,40})\s+\d+\s+\d+(?:\s+\S+)?\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a consumer group is with one queue; `behind` counts messages, `in_flight` those not acknowledged yet."""

    topic: str
    broker: str
    queue: int
    end: int
    consumed: int
    behind: int
    in_flight: int


def printed_messages(text: str) -> list[StoredMessage]:
    """Return the messages of `printMsg`. Raise `CommandFailed` if one can't be understood."""
    found = [_printed(match) for match in _PRINTED.finditer(text)]
    if len(found) != len(re.findall(r"^MSGID: ", text, re.MULTILINE)):
        raise CommandFailed("The admin tool printed messages in a form that is not known.")
    return found


def message_fields(text: str) -> dict[str, str]:
    """Return what `queryMsgByUniqueKey` printed, by its headings; empty if there is no message."""
    fields: dict[str, str] = dict(_FIELD.findall(text))
    return fields if "Message Body Path" in fields else {}


def one_message(message_id: str, fields: Mapping[str, str], body: bytes) -> StoredMessage:
    """Return the message of `message_fields`."""
    return StoredMessage(
        message_id,
        fields["Topic"],
        properties(fields.get("Properties", "{}")[1:-1]),
        body,
        int(fields.get("Reconsume Times", "0")),
        None,  # printed in the time zone of the tool
        int(fields.get("Queue ID", "0")),
        int(fields.get("Queue Offset", "0")),
    )


def ids(text: str) -> list[str]:
    """Return the message ids of `queryMsgByKey`, each once: a half message has a row for every check."""
    return list(dict.fromkeys(_ROW_OF_KEY.findall(text)))


def progress(text: str) -> list[Progress]:
    """Return the rows of `consumerProgress -g`."""
    rows = []
    for line in text.splitlines():
        cells = line.split()
        if cells and not line.startswith("#") and len(cells) >= 7 and cells[2].isdigit():  # noqa: PLR2004 - its columns
            rows.append(Progress(cells[0], cells[1], *map(int, cells[2:7])))
    return rows


def properties(text: str) -> dict[str, str]:
    """Return a Java map that was printed as `a=b, c=d`."""
    pairs = (pair.partition("=") for pair in _NEXT_PROPERTY.split(text) if pair)
    return {name: value for name, _, value in pairs}


def _printed(match: re.Match[str]) -> StoredMessage:
    octets = bytes(int(octet) % 256 for octet in match["body"].split(", ") if octet)  # Java's bytes are signed
    stored, place = _STORED.search(match[0]), _PLACE.search(match[0])
    return StoredMessage(
        match["id"],
        match["topic"],
        properties(match["properties"]),
        octets,
        int(match["times"]),
        int(stored[1]) if stored else None,
        *(map(int, place.groups()) if place else ()),
    )
