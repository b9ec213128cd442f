#!/usr/bin/env bash
# stripe-mock 0.203.0: told one address for HTTP, it listens for HTTPS too, on port 12112 of all interfaces, so that a
# second one with another address for HTTP ends at once.
#
# With -http-port, HTTPS stays away: its help calls that "same as '-http-addr :<port>'", which it is not. So tests that
# start one each, on addresses of their own, disturb each other. Naming -https-addr as well (port 0 takes any that is
# free) helps.
#
# Seen: the first listens on its address and on 12112; the second says "bind: address already in use" and exits with 1;
# with -https-addr 127.0.0.1:0 it starts. Fails if that changes. Needs Go 1.22 and its module proxy; a minute or two.
set -euo pipefail
work=$(mktemp -d)
pids=()
clean() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap clean EXIT
go=$(command -v go || command -v /usr/local/go/bin/go)
GOBIN=$work GOPATH=$work/path GOFLAGS=-buildvcs=false "$go" install github.com/stripe/stripe-mock@v0.203.0 2>"$work/build" ||
    { cat "$work/build"; exit 2; }

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
begun() { # waits until a log says that everything is listened on, or that the process is over
    for _ in $(seq 100); do
        if grep -q "$2" "$1"; then return 0; fi
        if ! kill -0 "$3" 2>/dev/null; then return 1; fi
        read -r -t 0.1 <> <(:) || true
    done
    return 1
}

touch "$work/first" "$work/third"
"$work/stripe-mock" -http-addr "127.0.0.1:$(free)" >"$work/first" 2>&1 &
pids+=($!)
begun "$work/first" "HTTPS at" "${pids[0]}" || { cat "$work/first"; echo "This has changed."; exit 1; }
grep "HTTPS at" "$work/first"
timeout 3 "$work/stripe-mock" -http-port "$(free)" >"$work/port" 2>&1 || true
if grep -q "HTTPS at" "$work/port"; then echo "This has changed: -http-port listens for HTTPS too."; exit 1; fi

status=0
timeout 20 "$work/stripe-mock" -http-addr "127.0.0.1:$(free)" >"$work/second" 2>&1 || status=$?
tail -n 1 "$work/second" && echo

"$work/stripe-mock" -http-addr "127.0.0.1:$(free)" -https-addr 127.0.0.1:0 >"$work/third" 2>&1 &
pids+=($!)
begun "$work/third" "HTTPS at" "${pids[1]}" || { cat "$work/third"; echo "This has changed."; exit 1; }

if ! grep -q "HTTPS at.*:12112" "$work/first" || [ "$status" -ne 1 ] || ! grep -q "address already in use" "$work/second"; then
    echo "This has changed."
    exit 1
fi
echo "The second one ended with $status; with an address for HTTPS of its own, one starts beside the first."
