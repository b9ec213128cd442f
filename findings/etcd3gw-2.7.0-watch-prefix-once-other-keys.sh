#!/usr/bin/env bash
# etcd3gw 2.7.0: watch_prefix_once waits for other keys than those of its prefix.
#
# It encodes the end of the range in Base64, and watch_once encodes it once more, so etcd is told the text of a Base64
# number as the end. watch_prefix does not. What that range is, depends on the prefix: below "/" it ends in the middle of
# the capital letters, so that keys of other prefixes end the wait; a prefix that begins with a small letter lies above
# its end, so that nothing ever does.
#
# Seen with etcd 3.4 (Debian 12): watch_prefix_once('/services/') returns an event of '/unrelated'; watch_prefix_once
# ('services/') times out while 'services/order' is written; watch_prefix sees just that key. Fails if that changes.
# Needs apt-get (it unpacks etcd-server into the temporary directory, no root) and a few seconds.
set -euo pipefail
work=$(mktemp -d)
etcd=
end() {
    [ -z "$etcd" ] || kill "$etcd" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
(cd "$work" && apt-get download -qq etcd-server && dpkg -x etcd-server_*.deb .)
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check etcd3gw==2.7.0 'setuptools<81'
read -r port peer < <(python3 -c 'import socket
both = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in both))')
"$work/usr/bin/etcd" --data-dir "$work/data" --log-level error \
    --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
    --listen-peer-urls "http://127.0.0.1:$peer" >"$work/log" 2>&1 &
etcd=$!
"$work/usr/bin/etcd" --version | sed -n 1p
"$work/venv/bin/python" - "$port" <<'PY'
import sys
import threading
import time

import etcd3gw
from etcd3gw.exceptions import Etcd3Exception, WatchTimedOut

client = etcd3gw.client(port=int(sys.argv[1]), api_path="/v3/", timeout=5)
for _ in range(200):
    try:
        revision = int(client.status()["header"]["revision"])
        break
    except Etcd3Exception:
        time.sleep(0.05)  # until etcd answers
else:
    raise SystemExit("etcd did not start.")


def seen(prefix, key):
    """Return the key whose event ends the wait for a prefix, while `key` is written; None: nothing did within 3 s."""
    revision = int(client.status()["header"]["revision"]) + 1
    client.put(key, "1")
    try:
        event = client.watch_prefix_once(prefix, timeout=3, start_revision=revision)
    except WatchTimedOut:
        return None
    return event["kv"]["key"].decode()


def watched(prefix, key):
    """Return the same of watch_prefix."""
    revision = int(client.status()["header"]["revision"]) + 1
    client.put(key, "1")
    events, cancel = client.watch_prefix(prefix, start_revision=revision)
    threading.Timer(3, cancel).start()
    return next((event["kv"]["key"].decode() for event in events), None)


found = {
    "other": seen("/services/", "/unrelated"),
    "own": seen("services/", "services/order"),
    "watch_prefix, other": watched("/services/", "/unrelated"),
    "watch_prefix, own": watched("services/", "services/order"),
}
print(found)
if found != {
    "other": "/unrelated",
    "own": None,
    "watch_prefix, other": None,
    "watch_prefix, own": "services/order",
}:
    raise SystemExit("This has changed.")
PY
