"""What is changed by rule, and the tests that are to notice."""

from pathlib import Path

SUITES = ("tests/unit", "tests/property", "tests/contract")
"""Tests that run the code in their own process, where a change can be planted."""

_CORE = (
    *(
        "halfmessage/mq/embedded/*.py",
        "halfmessage/mq/rocketmq_grpc/*.py",
        "halfmessage/tx/*.py",
        "halfmessage/participant/*.py",
    ),
    *(f"halfmessage/{name}.py" for name in ("db", "ids")),
    *(f"common/{name}.py" for name in ("standby", "peer", "cache")),
    *("order/service/*.py", "order/consumer.py", "order/clients/*.py", "order/app.py"),
    *("common/reservations/service.py", "common/rows.py"),
    *("stock/service/*.py", "stock/app.py", "goods/service.py", "coupon/service/*.py", "coupon/app.py"),
    *("flash/service/*.py", "flash/pieces/*.py"),
    *("ops/reconcile.py", "ops/holdings/*.py"),
)


def core(root: Path) -> list[str]:
    """Return the files of the core, by their paths in the clone."""
    return sorted(str(file.relative_to(root)) for pattern in _CORE for file in root.glob(pattern))
