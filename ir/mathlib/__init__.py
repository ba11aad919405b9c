"""`expand`: rewrites calls of transcendental functions into primitives, so that code generation knows no `tanh`.

The functions are written in `exponential`, `saturating`, `hyperbolic`, `trigonometric` and `power` from the tools of `floats`; their
coefficients are in `polynomials`. float16 and bfloat16 are computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dtypes import F32, F64
from ..errors import TypeMismatch
from ..expr import Call, Expr, call, cast, transform
from ..scalars import SCALARS
from . import exponential, hyperbolic, power, saturating, trigonometric


def _rsqrt(x: Expr) -> Expr:
    """1/√x"""
    return 1.0 / call("sqrt", x)


# one function for each scalar function that is not a primitive; all take float32 or float64
FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": exponential.log,
    "log2": exponential.log2,
    "log1p": exponential.log1p,
    "sigmoid": saturating.sigmoid,
    "tanh": saturating.tanh,
    "erf": saturating.erf,
    "gelu": saturating.gelu,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "arcsinh": hyperbolic.arcsinh,
    "arccosh": hyperbolic.arccosh,
    "arctanh": hyperbolic.arctanh,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "arcsin": trigonometric.arcsin,
    "arccos": trigonometric.arccos,
    "arctan": trigonometric.arctan,
    "pow": power.power,
    "rsqrt": _rsqrt,
}


def expand(x: Expr) -> Expr:
    """x with every call of a function that is not a primitive replaced by primitives; x itself when there is none.

    Raises TypeMismatch for a function or dtype that has no expansion.
    """
    return transform(x, _expand_call)


def _expand_call(node: Expr) -> Expr | None:
    if not isinstance(node, Call) or node.fn not in SCALARS or SCALARS[node.fn].primitive:
        return None
    if node.dtype.is_integer and node.fn == "pow":
        return power.integer_power(*node.operands)
    if node.fn not in FUNCTIONS or not node.dtype.is_float:
        raise TypeMismatch(f"{node.fn} of {node.dtype} has no expansion into primitives")
    if node.dtype in (F32, F64):
        return FUNCTIONS[node.fn](*node.operands)
    return cast(FUNCTIONS[node.fn](*(cast(x, F32) for x in node.operands)), node.dtype)
