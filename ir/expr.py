"""The scalar body language: what one element of a result is.

    expr ::= Const | Index(axis) | Size(dim) | Arg(k) | Load(k, index...) | Kept(stage) | Call(fn, expr...)

Fusion is composition of these expressions. They carry a dtype, print as text, are evaluated by NumPy (`evaluate_expr`) and
are turned into vector code by code generation.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from .dims import Dim, DimLike, evaluate_dim
from .dtypes import BOOL, I64, DType
from .errors import TypeMismatch
from .scalars import SCALARS

Number = int | float | bool
Affine = tuple[Mapping[int, DimLike], DimLike]


class _Interned(type):
    """Makes equal nodes the same object, so that equality and hashing cost nothing however often a subterm is shared."""

    _table: ClassVar[weakref.WeakValueDictionary[tuple[Any, ...], Any]] = weakref.WeakValueDictionary()
    _lock = threading.Lock()

    def __call__(cls, *args: Any) -> Any:
        key = (cls, *args)
        with _Interned._lock:
            found = _Interned._table.get(key)
            if found is None:
                found = _Interned._table[key] = super().__call__(*args)
            return found


@dataclass(frozen=True, eq=False, repr=False)
class Expr(metaclass=_Interned):
    """Base of the node kinds below; arithmetic operators build `Call`s and lift Python numbers to the other side's dtype.

    Nodes are interned: two equal expressions are one object.
    """

    dtype: DType

    def __add__(self, other: Expr | Number) -> Expr:
        return call("add", self, other)

    def __radd__(self, other: Number) -> Expr:
        return call("add", const(other, self.dtype), self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return call("sub", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return call("sub", const(other, self.dtype), self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return call("mul", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return call("mul", const(other, self.dtype), self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return call("div", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return call("div", const(other, self.dtype), self)

    def __neg__(self) -> Expr:
        return call("neg", self)

    def __lt__(self, other: Expr | Number) -> Expr:
        return call("lt", self, other)

    def __le__(self, other: Expr | Number) -> Expr:
        return call("le", self, other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return call("gt", self, other)

    def __ge__(self, other: Expr | Number) -> Expr:
        return call("ge", self, other)

    def __and__(self, other: Expr | Number) -> Expr:
        return call("and", self, other)

    def __or__(self, other: Expr | Number) -> Expr:
        return call("or", self, other)

    @property
    def args(self) -> tuple[Expr, ...]:
        return ()

    @functools.cached_property
    def below(self) -> tuple[Expr, ...]:
        """Every distinct node under this one, children first. Iterative: depth is no limit."""
        order: dict[Expr, None] = {}
        stack: list[tuple[Expr, bool]] = [(self, False)]
        while stack:
            node, ready = stack.pop()
            if ready or not node.args:
                order[node] = None
            elif node not in order:
                stack.append((node, True))
                stack.extend([(a, False) for a in reversed(node.args) if a not in order])
        return tuple(order)[:-1]  # without itself: no cycle keeps an expression alive

    @functools.cached_property
    def _affine(self) -> Affine | None:
        return _affine_form(self)

    def __str__(self) -> str:
        from .text.exprs import print_expr

        return print_expr(self)

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True, eq=False, repr=False)
class Const(Expr):
    """A number, kept as the text that `repr` gives: 0.0, -0.0 and nan stay what they are and compare as values."""

    text: str

    @property
    def value(self) -> Number:
        return _number(self.text)


@dataclass(frozen=True, eq=False, repr=False)
class Index(Expr):
    """The loop index of an axis (i64)."""

    axis: int


@dataclass(frozen=True, eq=False, repr=False)
class Size(Expr):
    """A symbolic dimension as a number (i64)."""

    dim: Dim


@dataclass(frozen=True, eq=False, repr=False)
class Arg(Expr):
    """Operand k at this element, broadcast to the result as NumPy does; stands in op bodies only."""

    operand: int


@dataclass(frozen=True, eq=False, repr=False)
class Load(Expr):
    """Operand k at an explicit index, one i64 expression for each of its axes. Indices must be in range."""

    operand: int
    index: tuple[Expr, ...]

    @property
    def args(self) -> tuple[Expr, ...]:
        return self.index


@dataclass(frozen=True, eq=False, repr=False)
class Kept(Expr):
    """The value an earlier stage of the same loop program left: a row's scalar, or the element at this column."""

    stage: int


@dataclass(frozen=True, eq=False, repr=False)
class Call(Expr):
    """A scalar function of `scalars.SCALARS`, or `cast` / `bitcast` to `dtype`."""

    fn: str
    operands: tuple[Expr, ...]

    @property
    def args(self) -> tuple[Expr, ...]:
        return self.operands


def _number(text: str) -> Number:
    if text in ("True", "False"):
        return text == "True"
    return float(text) if any(c in text for c in ".einfa") else int(text)


def const(value: Number | np.generic, dtype: DType) -> Const:
    """The constant `value`, rounded to `dtype` (through NumPy); raises OverflowError when an integer does not fit."""
    if dtype is BOOL:
        return Const(dtype, str(bool(value)))
    if dtype.is_float:
        with np.errstate(over="ignore"):
            return Const(dtype, repr(float(np.asarray(value, np.float64).astype(dtype.numpy))))
    return Const(dtype, repr(int(np.array(int(value), dtype.numpy))))


def index(axis: int) -> Expr:
    return Index(I64, axis)


def size(dim: DimLike) -> Expr:
    """A dimension as an i64 expression."""
    return const(dim, I64) if isinstance(dim, int) else Size(I64, dim)


def cast(x: Expr, dtype: DType) -> Expr:
    """x converted: float to int truncates (out of range: the nearest end; NaN: 0), anything to bool is x != 0."""
    if x.dtype is dtype:
        return x
    if isinstance(x, Const) and not (x.dtype.is_float and dtype.is_integer):
        return const(x.value, dtype) if dtype is BOOL or x.dtype is BOOL or dtype.is_float else Call(dtype, "cast", (x,))
    return Call(dtype, "cast", (x,))


def bitcast(x: Expr, dtype: DType) -> Expr:
    """The same bits read as another dtype of the same width."""
    if x.dtype.bits != dtype.bits:
        raise TypeMismatch(f"bitcast from {x.dtype} to {dtype}: widths differ")
    return x if x.dtype is dtype else Call(dtype, "bitcast", (x,))


def select(condition: Expr, a: Expr | Number, b: Expr | Number) -> Expr:
    """a where condition holds, else b; both are evaluated."""
    if not isinstance(a, Expr):
        a = const(a, b.dtype)  # type: ignore[union-attr]
    if not isinstance(b, Expr):
        b = const(b, a.dtype)
    if isinstance(condition, Const):
        return a if condition.value else b
    if a.dtype is not b.dtype or condition.dtype is not BOOL:
        raise TypeMismatch(f"select of {condition.dtype} ? {a.dtype} : {b.dtype}")
    return Call(a.dtype, "select", (condition, a, b))


def call(fn: str, *operands: Expr | Number) -> Expr:
    """The call of a scalar function; Python numbers take the dtype of the first operand that is an Expr.

    Raises TypeMismatch when the function does not take these dtypes. Index arithmetic on constants is folded.
    """
    scalar = SCALARS[fn]
    model = next(x for x in operands if isinstance(x, Expr))
    lifted = tuple(x if isinstance(x, Expr) else const(x, model.dtype) for x in operands)
    dtype = lifted[0].dtype
    kind = "i" if dtype.is_integer else dtype.kind[0]
    if len(lifted) != scalar.arity or any(x.dtype is not dtype for x in lifted) or kind not in scalar.kinds:
        raise TypeMismatch(f"{fn}({', '.join(str(x.dtype) for x in lifted)}): takes {scalar.arity} operands of one dtype")
    if dtype is I64:
        folded = _fold_index(fn, lifted)
        if folded is not None:
            return folded
    return Call(BOOL if scalar.result == "bool" else dtype, fn, lifted)


def maximum(a: Expr, b: Expr | Number) -> Expr:
    return call("max", a, b)


def minimum(a: Expr, b: Expr | Number) -> Expr:
    return call("min", a, b)


def _fold_index(fn: str, operands: tuple[Expr, ...]) -> Expr | None:
    """x+0, x*1, x*0 and arithmetic on dimensions: keeps index expressions affine and short."""
    if fn not in ("add", "sub", "mul"):
        return None
    a, b = operands
    m, n = _as_dim(a), _as_dim(b)
    if m is not None and n is not None:
        return size(m + n if fn == "add" else m - n if fn == "sub" else m * n)
    if (fn in ("add", "sub") and n == 0) or (fn == "mul" and (n == 1 or m == 0)):
        return a
    if (fn == "add" and m == 0) or (fn == "mul" and (m == 1 or n == 0)):
        return b
    return None


def _as_dim(x: Expr) -> DimLike | None:
    if isinstance(x, Const) and x.dtype is I64:
        return int(x.value)
    return x.dim if isinstance(x, Size) else None


def rebuild(x: Expr, args: tuple[Expr, ...]) -> Expr:
    """The same node over other children."""
    if isinstance(x, Load):
        return Load(x.dtype, x.operand, args)
    if isinstance(x, Call):
        if x.dtype is I64 and x.fn in ("add", "sub", "mul"):
            return call(x.fn, *args)
        return Call(x.dtype, x.fn, args)
    return x


def transform(x: Expr, rule: Callable[[Expr], Expr | None]) -> Expr:
    """Rewrites bottom-up: `rule` sees each node with its children done; None keeps it. Shared nodes are done once."""
    done: dict[Expr, Expr] = {}
    for node in walk(x):
        args = node.args
        if not args:
            done[node] = rule(node) or node
            continue
        new_args = tuple([done[a] for a in args])
        new = node if new_args == args else rebuild(node, new_args)
        folded = type(new) is not type(node) or new in new_args  # index arithmetic that became one of its operands: they are done
        done[node] = new if folded else rule(new) or new
    return done[x]


def walk(x: Expr) -> Iterator[Expr]:
    """Every distinct node, children first."""
    return itertools.chain(x.below, (x,))


def shift_axes(x: Expr, new: Mapping[int, Expr]) -> Expr:
    """x with loop indices replaced: axis k becomes new[k]."""
    return transform(x, lambda n: new[n.axis] if isinstance(n, Index) and n.axis in new else None)


def affine(x: Expr) -> Affine | None:
    """(coefficients, constant) where x = Σ coefficients[axis]·i_axis + constant, or None when x is not of that form."""
    return x._affine  # worked out once for an expression


def _affine_form(x: Expr) -> Affine | None:
    dim = _as_dim(x)
    if dim is not None:
        return {}, dim
    if isinstance(x, Index):
        return {x.axis: 1}, 0
    if not (isinstance(x, Call) and x.fn in ("add", "sub", "mul", "neg")):
        return None
    parts = [a._affine for a in x.args]
    if None in parts:
        return None
    (ca, ka), (cb, kb) = (parts + parts)[:2]  # type: ignore[misc]
    if x.fn == "neg":
        return {k: v * -1 for k, v in ca.items()}, ka * -1
    if x.fn == "mul":
        if ca and cb:
            return None
        scale, coefficients = (kb, ca) if ca else (ka, cb)
        return {k: v * scale for k, v in coefficients.items()}, ka * kb
    sign = -1 if x.fn == "sub" else 1
    merged = dict(ca)
    for axis, value in cb.items():
        merged[axis] = merged.get(axis, 0) + value * sign
    return {k: v for k, v in merged.items() if v != 0}, ka + kb * sign


def evaluate_expr(x: Expr, leaf: Callable[[Expr], Any], sizes: Mapping[str, int]) -> np.ndarray:
    """The NumPy meaning of x. `leaf` gives the value of Arg, Kept and Index nodes, and the array that a Load reads from.

    Floats narrower than 32 bits are computed in float32 and rounded after each operation, as compiled code does.
    """
    done: dict[Expr, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for node in walk(x):
            done[node] = _evaluate_node(node, [done[a] for a in node.args], leaf, sizes)
    return done[x]


def _evaluate_node(x: Expr, args: list[np.ndarray], leaf: Callable[[Expr], Any], sizes: Mapping[str, int]) -> np.ndarray:
    if isinstance(x, Const):
        return np.asarray(x.value).astype(x.dtype.numpy)
    if isinstance(x, Size):
        return np.asarray(evaluate_dim(x.dim, sizes), np.int64)
    if isinstance(x, Load):
        array = leaf(x)
        if not array.size:  # guarded by a select: nothing of it is used
            return np.zeros((), x.dtype.numpy)
        return array[tuple(np.broadcast_arrays(*args))] if args else array[()]
    if isinstance(x, Call):
        if x.fn == "cast":
            return cast_array(args[0], x.dtype)
        if x.fn == "bitcast":
            return np.ascontiguousarray(args[0]).view(x.dtype.numpy).reshape(np.shape(args[0]))
        if x.operands[-1].dtype.is_float and x.operands[-1].dtype.bits < 32:
            args = [a.astype(np.float32) if a.dtype != bool else a for a in args]
        return np.asarray(SCALARS[x.fn].reference(*args)).astype(x.dtype.numpy)
    return np.asarray(leaf(x))


def cast_array(x: np.ndarray, dtype: DType) -> np.ndarray:
    """The NumPy meaning of `cast`: float to integer truncates and saturates, NaN gives 0."""
    if x.dtype.kind not in "iub" and dtype.is_integer:
        if dtype.bits < 8:
            low, high = (-(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1) if dtype.kind == "int" else (0, (1 << dtype.bits) - 1)
        else:
            low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
        wide = np.trunc(np.nan_to_num(np.asarray(x, np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
        inside = (wide >= low) & (wide <= float(high) if dtype.bits < 64 else wide < float(high))
        safe = np.where(inside, wide, 0.0).astype(dtype.numpy)
        return np.where(inside, safe, np.where(wide > 0, dtype.numpy.type(high), dtype.numpy.type(low)))
    if dtype is BOOL:
        return x != 0
    if dtype.is_float and np.asarray(x).dtype.kind == dtype.numpy.kind == "V":
        x = x.astype(np.float32)  # exact; between themselves they do not all convert
    return np.asarray(x).astype(dtype.numpy)
