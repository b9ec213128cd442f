"""What tests have fail, at which step."""

from collections import deque
from collections.abc import Callable


class Faults:
    """What is to fail: each entry of `planned` is (where, before or after the deed, error), used once, in order."""

    def __init__(self) -> None:
        self.planned: deque[tuple[str, str, Exception]] = deque()
        self.hooks: dict[str, Callable[[], object]] = {}

    def plan(self, where: str, error: Exception, when: str = "before") -> None:
        self.planned.append((where, when, error))

    def passing(self, where: str, when: str) -> None:
        if when == "before" and where in self.hooks:
            self.hooks.pop(where)()
        if self.planned and self.planned[0][:2] == (where, when):
            raise self.planned.popleft()[2]
