"""What could stand instead of a block of statements: one forgotten, two in the other order, another way out."""

import ast
from collections.abc import Iterator

from lab.drill.mutants.generic.expressions import COMPUTED

Block = list[ast.stmt]
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_PURE = frozenset(
    {"abs", "any", "all", "bool", "dict", "enumerate", "float", "frozenset", "int", "isinstance", "len", "list"}
    | {"max", "min", "range", "reversed", "set", "sorted", "str", "sum", "tuple", "zip"}
)
_ASIDE = {"log": {"debug", "info", "warning", "error", "exception"}, "failpoints": {"hit"}}


def instead(block: Block) -> Iterator[Block]:
    """Yield what could stand instead of a block; each with one statement changed, or two next to each other."""
    for number, statement in enumerate(block):
        if is_aside(statement) or _is_docstring(statement):
            continue
        for other in _others(statement):
            yield [*block[:number], *other, *block[number + 1 :]] or [ast.Pass()]
        if number + 1 < len(block) and _can_swap(statement, block[number + 1]):
            yield [*block[:number], block[number + 1], statement, *block[number + 2 :]]


def is_aside(piece: ast.AST) -> bool:
    """Whether this only writes a line to the log, or is a place where drills strike: drills prove those."""
    if isinstance(piece, ast.Expr):
        piece = piece.value
    match piece:
        case ast.Call(ast.Attribute(ast.Name(name), done)):
            return done in _ASIDE.get(name, ())
        case ast.If(body=body, orelse=[]):
            return all(is_aside(statement) for statement in body)
    return False


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _others(statement: ast.stmt) -> Iterator[Block]:
    if _can_be_forgotten(statement):
        yield []
    match statement:
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield [ast.Return(ast.Constant(None))]
        case ast.Continue():
            yield [ast.Break()]
        case ast.Break():
            yield [ast.Continue()]
        case ast.If(body=body, orelse=orelse):
            yield body
            if orelse:
                yield orelse
        case ast.With(items=items, body=body) if all(item.optional_vars is None for item in items):
            yield body
        case ast.AugAssign(target, operation, value) if type(operation) in COMPUTED:
            yield [ast.AugAssign(target, COMPUTED[type(operation)](), value)]
        case _:
            pass


def _can_be_forgotten(statement: ast.stmt) -> bool:
    """Whether code without it is still likely to run: what gives a local name its value is missed at once."""
    match statement:
        case ast.Expr(ast.Call() | ast.Await() | ast.Yield()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            return True
        case ast.Return(value):
            return value is None
        case ast.If(orelse=orelse):
            return not orelse
        case ast.Assign(targets):
            return all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
        case ast.For() | ast.While():
            return True
    return False


def _can_swap(first: ast.stmt, second: ast.stmt) -> bool:
    if isinstance(first, _LEAVES) or isinstance(second, _LEAVES) or is_aside(second):
        return False
    if any(isinstance(one, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for one in (first, second)):
        return False
    if not (_matters(first) and _matters(second)) or not (_acts(first) or _acts(second)):
        return False  # only their own local names could notice
    if _sets_a_field(first) and _sets_a_field(second):
        return False
    if any(_leaves(one) and isinstance(other, ast.Assign) for one, other in ((first, second), (second, first))):
        return False  # something is computed and not used
    return not (
        _names(first, ast.Store) & _names(second, ast.Load) or _names(second, ast.Store) & _names(first, ast.Load)
    )


def _sets_a_field(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign([ast.Attribute()]) | ast.AnnAssign(ast.Attribute()):
            return True
    return False


def _leaves(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and isinstance(statement.body[-1], _LEAVES) and not statement.orelse


def _acts(statement: ast.stmt) -> bool:
    """Whether it calls what may do more than compute, or ends the function."""
    return any(
        isinstance(piece, ast.Await | ast.Yield | ast.Raise | ast.Return)
        or (isinstance(piece, ast.Call) and not _computes(piece.func))
        for piece in ast.walk(statement)
    )


def _computes(called: ast.expr) -> bool:
    """Whether this is a builtin function without effects, or a class, or looks into a mapping."""
    if isinstance(called, ast.Attribute):
        return called.attr in {"get", "items", "keys", "values"} or called.attr[:1].isupper()
    return isinstance(called, ast.Name) and (called.id in _PURE or called.id.lstrip("_")[:1].isupper())


def _matters(statement: ast.stmt) -> bool:
    """Whether it acts, or reads or sets a field of its object, which what was done before may have changed."""
    return _acts(statement) or any(
        isinstance(piece, ast.Attribute) and isinstance(piece.value, ast.Name) and piece.value.id == "self"
        for piece in ast.walk(statement)
    )


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
