"""A bug that is planted into the running code: no file changes, and what is not touched stays what it is."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, Protocol


class DoesNotFit(Exception):
    """The code that a mutant changes is not there (any more): change the mutant with it."""


class Change(Protocol):
    """One thing that a mutant changes."""

    def plant(self) -> None:
        """Change it, for the rest of this process. Raise `DoesNotFit`."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Pieces of a function's text, each of which occurs there once, are other ones.

    Who imported the function by name has the changed one as well: it is the same object with other code.
    """

    function: str
    """As in ``order.model:Class.method``."""
    pieces: tuple[tuple[str, str], ...]
    """What is there, indented as in a function of a module, and what is there instead."""

    def plant(self) -> None:
        """See `Change`."""
        function = inspect.unwrap(found(self.function))
        if not isinstance(function, FunctionType):
            raise DoesNotFit(f"{self.function} is no function")
        source = textwrap.dedent(inspect.getsource(function))
        for text, instead in self.pieces:
            if source.count(text) != 1:
                raise DoesNotFit(f"{self.function} has {source.count(text)} times: {text}")
            source = source.replace(text, instead)
        code = _compiled(source, function)
        if code.co_freevars != function.__code__.co_freevars:
            raise DoesNotFit(f"{self.function} with the change closes over other names")
        function.__code__ = code


def _compiled(source: str, function: FunctionType) -> CodeType:
    """Compile a function's new text, and nothing around it: neither its decorators nor its defaults run again."""
    tree = ast.parse(source)
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise DoesNotFit(f"{function.__qualname__} is no plain function")
    definition.decorator_list = []
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    module = compile(tree, function.__code__.co_filename, "exec")
    return next(
        constant
        for constant in module.co_consts
        if isinstance(constant, CodeType) and constant.co_name == function.__name__
    )


@dataclass(frozen=True, slots=True)
class Assign:
    """A name of a module or class has another value, made of the one it had."""

    name: str
    """As in ``order.model:NAME``."""
    make: Callable[[Any], Any]

    def plant(self) -> None:
        """See `Change`."""
        owner, _, attribute = self.name.replace(":", ".").rpartition(".")
        module, _, rest = self.name.partition(":")
        holder = found(f"{module}:{rest.rpartition('.')[0]}") if "." in rest else importlib.import_module(owner)
        setattr(holder, attribute, self.make(found(self.name)))


def found(name: str) -> Any:
    """Return what ``module:Class.name`` names; of what wraps a function, the function. Raise `DoesNotFit`."""
    module, _, path = name.partition(":")
    held: Any = importlib.import_module(module)
    for step in path.split("."):
        try:
            held = inspect.getattr_static(held, step)
        except AttributeError as error:
            raise DoesNotFit(f"there is no {name}") from error
        if isinstance(held, staticmethod | classmethod):
            held = held.__func__
        elif isinstance(held, property):
            held = held.fget
        elif isinstance(held, cached_property):
            held = held.func
    return held


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug, and the test that is there to catch it."""

    name: str
    breaks: str
    """What is wrong with it, in a few words."""
    test: str
    """A pytest node id, relative to the clone; of a test with parameters: of all of them together."""
    changes: tuple[Change, ...]

    def plant(self) -> None:
        """Plant it, for the rest of this process. Raise `DoesNotFit`."""
        for change in self.changes:
            change.plant()


def edited(name: str, breaks: str, test: str, *edits: tuple[str, str, str]) -> Mutant:
    """Return a mutant that is nothing but edits: (function, text, instead)."""
    functions = dict.fromkeys(function for function, _, _ in edits)
    changes = tuple(Edit(f, tuple((text, instead) for of, text, instead in edits if of == f)) for f in functions)
    return Mutant(name, breaks, test, changes)
