"""Strengths written as numbers or as small expressions over live relation attributes."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from schema.knowledge import STRENGTH_VARIABLES, Strength

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else 0.0,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max}
Evaluate = Callable[[Mapping[str, float]], float]


class StrengthError(ValueError):
    """An expression that can't be a strength; the message says why."""


def constant(value: float) -> Strength:
    """A strength that never changes. Raises StrengthError outside 0..1."""
    if not 0.0 <= value <= 1.0:
        raise StrengthError(f"a strength is a probability between 0 and 1, not {value:g}")
    return Strength(f"{value:g}", frozenset(), value, lambda _: value)


def expression(text: str, otherwise: float) -> Strength:
    """A strength that follows current conditions, e.g. `0.9 * share_of_latency_excess`. Raises StrengthError."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise StrengthError(f"{text!r} is no expression: use numbers, + - * /, min, max and the names of live relation attributes") from None
    needs = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS)
    return Strength(text, needs, constant(otherwise).otherwise, _compile(tree))


def _compile(node: ast.expr) -> Evaluate:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and math.isfinite(node.value):
        value = float(node.value)
        return lambda _: value
    if isinstance(node, ast.Name):
        name = _known(node.id)
        return lambda live: live[name]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        apply, left, right = _OPERATORS[type(node.op)], _compile(node.left), _compile(node.right)
        return lambda live: apply(left(live), right(live))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and len(node.args) > 1 and not node.keywords:
        function, arguments = _FUNCTIONS[node.func.id], [_compile(each) for each in node.args]
        return lambda live: function(*(each(live) for each in arguments))
    raise StrengthError(f"{ast.unparse(node)!r} can't stand in a strength: use numbers, + - * /, min, max and the names of live relation attributes")


def _known(name: str) -> str:
    if name in STRENGTH_VARIABLES:
        return name
    near = get_close_matches(name, STRENGTH_VARIABLES, 1)
    raise StrengthError(
        f"{name!r} is no live relation attribute." + (f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(STRENGTH_VARIABLES)}.")
    )
