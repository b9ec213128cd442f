#!/usr/bin/env bash
# pybreaker 1.4.1: `with breaker.calling()` lets any number of trial calls through a half-open circuit, where call() lets one.
#
# The README offers both for the same; of a half-open circuit it says that "the next call" is tried. call() and the decorator
# hold the breaker's lock for as long as the guarded function takes, which makes them a queue also while the circuit is closed
# (known: danielfm/pybreaker#3). calling() takes the same lock, but hands back a generator, so it is free again before its
# block begins: a service that has just come up is asked by all who wait for it.
#
# Seen, of 8 threads: call 1 at once, decorator 1, calling 8; calling while half-open 8. Fails if that changes. Takes some
# seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pybreaker==1.4.1
"$work/venv/bin/python" - <<'PY'
import threading
from concurrent.futures import ThreadPoolExecutor

import pybreaker

THREADS = 8


class Guarded:
    """A call that ends once all threads are in it, or half a second after it began."""

    def __init__(self):
        self.inside, self.most = 0, 0
        self.lock, self.full = threading.Lock(), threading.Event()

    def __call__(self):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == THREADS:
                self.full.set()
        self.full.wait(0.5)
        with self.lock:
            self.inside -= 1


def most_at_once(enter, breaker):
    guarded = Guarded()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: enter(breaker, guarded), range(THREADS)))
    return guarded.most


def by_call(breaker, guarded):
    breaker.call(guarded)


def by_decorator(breaker, guarded):
    breaker(lambda: guarded())()


def by_calling(breaker, guarded):
    with breaker.calling():
        guarded()


half_open = pybreaker.CircuitBreaker()
half_open.half_open()
found = {
    "call": most_at_once(by_call, pybreaker.CircuitBreaker()),
    "decorator": most_at_once(by_decorator, pybreaker.CircuitBreaker()),
    "calling": most_at_once(by_calling, pybreaker.CircuitBreaker()),
    "calling while half-open": most_at_once(by_calling, half_open),
}
print(f"of {THREADS} threads at once:", ", ".join(f"{how} {number}" for how, number in found.items()))
if list(found.values()) != [1, 1, THREADS, THREADS]:
    raise SystemExit("This has changed.")
PY
