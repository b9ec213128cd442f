"""Every change of one file by rule, each with a name that stays the same when lines move; and how one is planted."""

import ast
import hashlib
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from lab.drill.mutants.generic import blocks, expressions
from lab.drill.mutants.mutant import DoesNotFit, found

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function of a module, or one method of a class; what is defined inside it belongs to it."""

    file: str
    """Relative to the clone."""
    name: str
    """As in ``Class.method``."""
    definition: Definition
    path: Path

    @property
    def first(self) -> int:
        """The line of its ``def``."""
        return self.definition.lineno

    @property
    def last(self) -> int:
        """Its last line."""
        return self.definition.end_lineno or self.first

    @cached_property
    def fingerprint(self) -> str:
        """What is the same as long as the code is, wherever it stands in the file."""
        return hashlib.sha256(ast.dump(self.definition).encode()).hexdigest()[:16]

    def compiled(self) -> CodeType:
        """Return its code as the tree stands now, and nothing of what stands around it. Raise `DoesNotFit`."""
        alone: ast.stmt = self.definition
        for name in reversed(self.name.split(".")[:-1]):
            alone = ast.ClassDef(name, bases=[], keywords=[], body=[alone], decorator_list=[])
        try:
            module = compile(ast.fix_missing_locations(ast.Module([alone], [])), str(self.path), "exec")
        except SyntaxError as error:  # a `continue` that is in no loop any more
            raise DoesNotFit(f"{self.file}:{self.name} can't be compiled: {error.msg}") from error
        return next(code for code in _codes(module) if code.co_qualname == self.name)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


@dataclass(frozen=True)
class Mutation:
    """One change of one function."""

    function: Function
    change: str
    """The lines that differ: ``what is there => what is there instead``."""
    first: int
    last: int
    """The lines, of the file as it is, that run differently."""
    _place: "_Place" = field(repr=False)
    _value: Any = field(repr=False)

    @property
    def key(self) -> str:
        """Its name: file, function and change."""
        return f"{self.function.file}:{self.function.name}: {self.change}"

    def code(self) -> CodeType:
        """Return the function's code with the change. Raise `DoesNotFit`."""
        with_it = self._place.holding(self._value)
        with with_it:
            return self.function.compiled()

    def plant(self) -> None:
        """Plant it, for the rest of this process. Raise `DoesNotFit`."""
        module = self.function.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        held = inspect.unwrap(found(f"{module}:{self.function.name}"))
        if not isinstance(held, FunctionType):
            raise DoesNotFit(f"{self.key} changes no function")
        code = self.code()
        if code.co_freevars != held.__code__.co_freevars:
            raise DoesNotFit(f"{self.key} closes over other names")
        held.__code__ = code


class _Place:
    """Where a piece of the tree is held: in an attribute of its parent, or in a list there."""

    def __init__(self, parent: ast.AST, attribute: str, number: int | None) -> None:
        self._parent, self._attribute, self._number = parent, attribute, number
        self._before: Any = None
        self._next: Any = None

    def holding(self, value: Any) -> "_Place":
        """Return a context in which `value` stands here."""
        self._next = value
        return self

    def get(self) -> Any:
        held = getattr(self._parent, self._attribute)
        return held if self._number is None else held[self._number]

    def _set(self, value: Any) -> None:
        if self._number is None:
            setattr(self._parent, self._attribute, value)
        else:
            getattr(self._parent, self._attribute)[self._number] = value

    def __enter__(self) -> None:
        self._before = self.get()
        self._set(self._next)

    def __exit__(self, *_: object) -> None:
        self._set(self._before)


def functions(root: Path, file: str) -> Iterator[Function]:
    """Yield the functions and methods of a file, in order."""
    path = root / file
    module = ast.parse(path.read_text(encoding="utf-8"))

    def inside(body: list[ast.stmt], prefix: str) -> Iterator[Function]:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                yield from inside(statement.body, f"{prefix}{statement.name}.")
            elif isinstance(statement, Definition):
                yield Function(file, prefix + statement.name, statement, path)

    yield from inside(module.body, "")


def mutations(root: Path, file: str) -> Iterator[Mutation]:
    """Yield every change of a file that compiles and can be planted, in the order of its lines."""
    for function in functions(root, file):
        yield from _of(function)


def _of(function: Function) -> Iterator[Mutation]:
    before = ast.unparse(function.definition)
    closes_over = function.compiled().co_freevars
    seen, named = {before}, Counter[str]()
    for place in _places(function.definition):
        piece = place.get()
        others = blocks.instead(piece) if isinstance(piece, list) else expressions.instead(piece)
        for other in others:
            with place.holding(other):
                after = ast.unparse(function.definition)
            if after in seen:
                continue
            seen.add(after)
            change = _difference(before, after)
            first, last = _lines(piece, other)
            named[change] += 1
            if named[change] > 1:
                change += f" ({named[change]})"
            mutation = Mutation(function, change, first, last, place, other)
            try:
                if mutation.code().co_freevars == closes_over:
                    yield mutation
            except DoesNotFit:
                continue


def _places(piece: ast.AST) -> Iterator[_Place]:
    """Yield each place in a function's body; annotations, defaults, decorators and log lines hold none."""
    for attribute, value in ast.iter_fields(piece):
        if attribute in {"decorator_list", "args", "annotation", "returns"} and not isinstance(piece, ast.Call):
            continue
        if isinstance(value, list):
            if value and isinstance(value[0], ast.stmt):
                yield _Place(piece, attribute, None)
            for number, item in enumerate(value):
                if isinstance(item, ast.AST) and not _is_said(item):
                    yield _Place(piece, attribute, number)
                    yield from _places(item)
        elif isinstance(value, ast.AST) and not _is_said(value):
            yield _Place(piece, attribute, None)
            yield from _places(value)


def _is_said(piece: ast.AST) -> bool:
    return blocks.is_aside(piece) or (isinstance(piece, ast.keyword) and piece.arg in expressions.SAID)


def _difference(before: str, after: str) -> str:
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return " => ".join("; ".join(line.strip() for line in lines) or "nothing" for lines in (old, new))


def _lines(piece: Any, other: Any) -> tuple[int, int]:
    if isinstance(piece, list):
        kept = {id(statement) for statement in other}
        same_place = {id(one) for one, two in zip(piece, other, strict=False) if one is two}
        changed = [s for s in piece if id(s) not in kept] or [s for s in piece if id(s) not in same_place] or piece
        return changed[0].lineno, max(statement.end_lineno or statement.lineno for statement in changed)
    if isinstance(piece, ast.comprehension):
        return piece.target.lineno, (piece.ifs or [piece.iter])[-1].end_lineno or piece.target.lineno
    if isinstance(piece, ast.ExceptHandler):
        return piece.lineno, piece.lineno
    return piece.lineno, piece.end_lineno
