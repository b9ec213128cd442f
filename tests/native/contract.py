"""The contract of brokers on a real librocketmq, one process a test: `scripts/native` runs this inside its sandbox.

    python -m tests.native.contract WORK LIBRARY [PYTEST ARGUMENTS]...

Starts a RocketMQ in WORK, runs each test by itself, and says of each that failed how its process ended.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ops.stack import Stack

ROOT = Path(__file__).parents[2]
TESTS, ADAPTER = "tests/contract", "[rocketmq_remoting"
LONGEST = 300.0  # seconds that one test may take, its process's start and end included
CHECKED_UP_TO = 1000  # times: the library tells of a new producer after up to 30 s, when others are parked already


def say(line: str) -> None:
    """Print at once, whatever stdout is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def pytest(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
    )


def collected(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the ids of the tests, those of this adapter."""
    done = pytest("--collect-only", "-q", TESTS, *arguments, environment=environment)
    found = [line for line in done.stdout.splitlines() if "::" in line and ADAPTER in line]
    if not found:
        raise SystemExit(done.stdout + done.stderr)
    return found


def result(test: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Run one test; return passed, skipped or how it failed, and what it printed."""
    try:
        done = pytest("-q", test, environment=environment)
    except subprocess.TimeoutExpired as late:
        return "hung", str(late.stdout or b"")
    if done.returncode < 0:
        return f"crashed: {signal.Signals(-done.returncode).name}", done.stdout + done.stderr
    if done.returncode == 0:
        return "skipped" if "1 skipped" in done.stdout else "passed", ""
    return "failed", done.stdout + done.stderr


@contextmanager
def rocketmq(work: Path) -> Iterator[Mapping[str, str]]:
    """Run the servers; yield the environment of a test that uses them."""
    stack = Stack(work / "stack", say=say)
    stack.up()
    broker = stack.broker_address()
    words = ("-b", f"{broker.host}:{broker.port}", "-k", "transactionCheckMax", "-v", str(CHECKED_UP_TO))
    stack.admin().run("updateBrokerConfig", *words)
    try:
        yield {**os.environ, **stack.status().urls}
    finally:
        stack.down()


def main(work: Path, library: Path, arguments: Sequence[str]) -> int:
    """Run all; return how many failed."""
    counts: dict[str, int] = {}
    with rocketmq(work) as variables:
        environment = {
            **variables,
            "LIBROCKETMQ": str(library),
            "ORDERS_TEST_ROCKETMQ4": variables["ORDERS_TEST_NAMESRV"],
        }
        tests = collected(arguments, environment)
        for number, test in enumerate(tests, 1):
            outcome, printed = result(test, environment)
            counts[outcome] = counts.get(outcome, 0) + 1
            say(f"[{number}/{len(tests)}] {outcome:10} {test}")
            if printed:
                say(
                    "\n".join(
                        f"    {line}" for line in [*printed.splitlines()[:20], "...", *printed.splitlines()[-20:]]
                    )
                )
    say(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    return sum(number for outcome, number in counts.items() if outcome not in {"passed", "skipped"})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]) != 0)
