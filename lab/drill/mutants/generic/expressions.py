"""What could stand instead of an expression: the slips of a tired programmer, one a function."""

import ast
import copy
from collections.abc import Callable, Container, Iterator

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any"}
_AROUND = frozenset({"sorted", "reversed", "set", "list", "dict", "tuple", "int", "abs", "frozenset"})
"""Functions of one thing that give nearly the same thing back."""
_LINKS = frozenset(
    {"where", "order_by", "limit", "group_by", "having", "distinct", "with_for_update", "strip", "lower"}
)
"""Methods that make of a thing nearly the same thing; mostly pieces of a query."""
SAID = frozenset({"name", "thread_name_prefix", "strict"})
"""Arguments for people (names of threads), or which only check what the code around them sees to."""
_SMALL = 64  # numbers up to this one count something: one more or less; others are sizes and times: double and half


def instead(piece: ast.AST) -> Iterator[ast.AST]:
    """Yield what could stand instead of one expression, its own parts unchanged."""
    for kind, slips in _SLIPS.items():
        if isinstance(piece, kind):
            for slip in slips:
                yield from slip(piece)


def _borders(piece: ast.Compare) -> Iterator[ast.AST]:
    for number, compared in enumerate(piece.ops):
        changed = copy.copy(piece)
        changed.ops = list(piece.ops)
        changed.ops[number] = _COMPARED[type(compared)]()
        yield changed


def _logic(piece: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(piece.op, ast.And) else ast.And(), piece.values)
    for number in range(len(piece.values)):
        rest = [*piece.values[:number], *piece.values[number + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(piece.op, rest)


def _without_not(piece: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(piece.op, ast.Not | ast.Invert):
        yield piece.operand


def _arithmetic(piece: ast.BinOp) -> Iterator[ast.AST]:
    if type(piece.op) in COMPUTED and not _is_text(piece.left):
        yield ast.BinOp(piece.left, COMPUTED[type(piece.op)](), piece.right)
    if isinstance(piece.op, ast.BitAnd | ast.BitOr):  # conditions of a query, one of them forgotten
        yield piece.left
        yield piece.right


def _is_text(piece: ast.AST) -> bool:
    return isinstance(piece, ast.JoinedStr) or (isinstance(piece, ast.Constant) and isinstance(piece.value, str))


def _numbers(piece: ast.Constant) -> Iterator[ast.AST]:
    value = piece.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int) and value <= _SMALL:
        yield ast.Constant(value + 1)
        if value:
            yield ast.Constant(value - 1)
    elif isinstance(value, int):
        yield ast.Constant(value * 2)
        yield ast.Constant(value // 2)
    elif isinstance(value, float):
        yield ast.Constant(value * 2)
        yield ast.Constant(value / 2)


def _arguments(piece: ast.Call) -> Iterator[ast.AST]:
    for number, keyword in enumerate(piece.keywords):
        if keyword.arg is not None and keyword.arg not in SAID:
            yield ast.Call(piece.func, piece.args, [*piece.keywords[:number], *piece.keywords[number + 1 :]])
    if any(isinstance(argument, ast.Starred) for argument in piece.args) or _is_named(piece.func, _OPPOSITE):
        return  # to `min` and its like, their order is nothing
    for number, (left, right) in enumerate(zip(piece.args, piece.args[1:], strict=False)):
        if ast.dump(left) != ast.dump(right):
            changed = [*piece.args[:number], right, left, *piece.args[number + 2 :]]
            yield ast.Call(piece.func, changed, piece.keywords)


def _is_named(called: ast.expr, names: Container[str]) -> bool:
    return isinstance(called, ast.Name) and called.id in names


def _calls(piece: ast.Call) -> Iterator[ast.AST]:
    called = piece.func
    if isinstance(called, ast.Name) and _is_named(called, _OPPOSITE):
        yield ast.Call(ast.Name(_OPPOSITE[called.id], ast.Load()), piece.args, piece.keywords)
    if _is_named(called, _AROUND) and len(piece.args) == 1:
        yield piece.args[0]
    if isinstance(called, ast.Attribute) and called.attr in _LINKS:
        yield called.value


def _chosen(piece: ast.IfExp) -> Iterator[ast.AST]:
    yield piece.body
    yield piece.orelse


def _filters(piece: ast.comprehension) -> Iterator[ast.AST]:
    for number in range(len(piece.ifs)):
        changed = copy.copy(piece)
        changed.ifs = [*piece.ifs[:number], *piece.ifs[number + 1 :]]
        yield changed


def _pages(piece: ast.Slice) -> Iterator[ast.AST]:
    if piece.lower is not None:
        yield ast.Slice(None, piece.upper, piece.step)
    if piece.upper is not None:
        yield ast.Slice(piece.lower, None, piece.step)


def _caught(piece: ast.ExceptHandler) -> Iterator[ast.AST]:
    """Yield the clause with one error fewer; `except ()` catches nothing."""
    errors = piece.type.elts if isinstance(piece.type, ast.Tuple) else [piece.type] if piece.type is not None else []
    for number in range(len(errors)):
        changed = copy.copy(piece)
        changed.type = ast.Tuple([*errors[:number], *errors[number + 1 :]], ast.Load())
        yield changed


_SLIPS: dict[type[ast.AST], tuple[Callable[..., Iterator[ast.AST]], ...]] = {
    ast.Compare: (_borders,),
    ast.BoolOp: (_logic,),
    ast.UnaryOp: (_without_not,),
    ast.BinOp: (_arithmetic,),
    ast.Constant: (_numbers,),
    ast.Call: (_arguments, _calls),
    ast.IfExp: (_chosen,),
    ast.comprehension: (_filters,),
    ast.Slice: (_pages,),
    ast.ExceptHandler: (_caught,),
}
