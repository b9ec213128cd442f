# Sourced by the scripts beside it: makes .venv when it is missing or out of date, then runs `orders` or `lab`.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

die() {
    echo "$*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed; install it, for example: apt install python3 python3-venv"
}

# What the environment was made from; the clone's place too, because a moved environment does not work.
wanted() {
    echo "$1 $root"
    cksum <"$root/setup.cfg"
    cksum <"$root/constraints.txt"
}

is_made() { # EXTRA: its stamp is the last thing written, so a half-made environment has none
    local stamp=$venv/stamp$1
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted "$1")" ] && [ -x "$venv/bin/orders" ] && "$venv/bin/python" -c '' 2>/dev/null
}

# Two scripts started at once: the second waits for the first. The lock is this file itself where there is flock.
lock() {
    if command -v flock >/dev/null; then
        exec 9<"$root/scripts/_env.sh"
        flock 9
        return
    fi
    until mkdir "$root/.venv.lock" 2>/dev/null; do
        kill -0 "$(cat "$root/.venv.lock/pid" 2>/dev/null || echo $$)" 2>/dev/null || rm -rf "$root/.venv.lock"
        sleep 0.2
    done
    echo $$ >"$root/.venv.lock/pid"
    trap 'rm -rf "$root/.venv.lock"' EXIT
}

unlock() {
    exec 9<&-
    rm -rf "$root/.venv.lock"
    trap - EXIT
}

make_venv() { # EXTRA
    local python log
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            die "Python's venv module is needed; install it, for example: apt install python3-venv"
        rm -rf "$venv"
        "$python" -m venv "$venv" || die "$venv could not be made; see above"
    fi
    log=$venv/install.log
    echo "Installing into $venv (once; about a minute) ..." >&2
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        -c "$root/constraints.txt" -e "$root$1" >"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        die "The installation failed (all of it: $log). Is there a network? Try again."
    }
    wanted "" >"$venv/stamp" # every extra brings the plain installation
    wanted "$1" >"$venv/stamp$1"
    echo "Installed." >&2
}

ensure() { # EXTRA: "", "[test]", "[rocketmq]", "[trace]" or "[rocketmq,trace]", which add up in one environment
    if ! is_made "$1"; then
        lock
        is_made "$1" || make_venv "$1"
        unlock
    fi
}

extra_for() { # WORDS of a command: what it needs besides
    local word rocketmq= trace=${ORDERS_TRACE:+trace}
    for word in "$@"; do
        case $word in
        --real | calls) rocketmq=rocketmq ;; # `bench calls` compares with gRPC, which comes with it
        --trace) trace=trace ;;
        esac
    done
    [ -z "$rocketmq$trace" ] || echo "[$rocketmq${rocketmq:+${trace:+,}}$trace]"
}

orders() {
    ensure "$(extra_for "$@")"
    exec "$venv/bin/orders" "$@"
}

lab() { # drill or bench, which only a clone has: not installed, so Python is told where it is
    ensure "$(extra_for "$@")"
    PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$venv/bin/python" -m lab "$@"
}
