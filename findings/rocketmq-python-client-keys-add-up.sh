#!/usr/bin/env bash
# rocketmq-python-client 5.1.2: assigning a message's keys adds to them; only what was there before tells which it has.
#
# `message.keys = "order-1"` reads as if the message now had this one key. The setter adds it to a set instead, so a
# message that is built once and sent again with another key is found under every key it ever had, and none can be taken
# away. Several keys at once can't be assigned: a tuple or list is an AttributeError about strip.
# The properties beside them (topic, tag, body) are replaced when assigned, as one expects.
#
# Seen: {"order-1", "order-2"} after the second assignment. Fails if that changes. Needs no server.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rocketmq-python-client==5.1.2
HOME=$work "$work/venv/bin/python" - <<'PY'
from rocketmq import Message

message = Message()
message.tag, message.keys = "first", "order-1"
message.tag, message.keys = "second", "order-2"
print(f"tag {message.tag!r}, keys {sorted(message.keys)}")
try:
    message.keys = ("order-3", "order-4")
    several = "taken"
except AttributeError as error:
    several = str(error)
print(f"several at once: {several}")
if message.tag != "second" or message.keys != {"order-1", "order-2"} or "strip" not in several:
    raise SystemExit("This has changed.")
PY
