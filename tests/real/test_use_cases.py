"""The tests of the use cases, which run on SQLite elsewhere, on a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.in_turn
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tests", ["stock", "coupon", "pay", "sandbox", "user", "order", "property"])
def test_use_cases(tests: str) -> None:
    """Stock, order and transactions keep their promises on MySQL as on SQLite, test by test."""
    files = {
        "stock": sorted(ROOT.glob("tests/unit/test_stock_*.py")),
        "pay": [*sorted(ROOT.glob("tests/unit/test_pay_*.py")), ROOT / "tests/property/test_payments.py"],
        "sandbox": [ROOT / "tests/unit/test_sandbox.py"],
        "user": sorted(ROOT.glob("tests/unit/test_user_*.py")),
        "coupon": sorted(ROOT.glob("tests/unit/test_coupon_*.py")),
        "order": [*sorted(ROOT.glob("tests/unit/test_order_*.py")), ROOT / "tests/unit/test_transaction.py"],
        "property": [ROOT / "tests/property/test_reservations.py"],
    }[tests]
    together = ["--numprocesses", str(os.cpu_count() or 1), "--dist", "worksteal"]  # each has databases of its own
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *together, *map(str, files)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"ORDERS_TEST_DATABASE": "mysql"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
