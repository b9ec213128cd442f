"""Two transactions that lock two rows in opposite orders."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection

Work = Callable[[Connection], Any]


def meet(transact: Callable[[Work], Any], change: Callable[[int], Work], *, nested: bool = False) -> int:
    """Have both change the rows 1 and 2, each once it has its first; return how often they were tried, together.

    `nested`: the second change is made in a savepoint.
    """
    both_have_one = threading.Barrier(2)
    tries: list[int] = []

    def work(first: int, second: int) -> Work:
        waiting = [both_have_one]

        def run(connection: Connection) -> None:
            tries.append(first)
            change(first)(connection)
            if waiting:
                waiting.pop().wait(5)
            with ExitStack() as stack:
                if nested:
                    stack.enter_context(connection.begin_nested())
                change(second)(connection)

        return run

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(transact, work(1, 2)), pool.submit(transact, work(2, 1))]:
            done.result()
    return len(tries)
