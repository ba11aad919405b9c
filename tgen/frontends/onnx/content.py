"""Shape arithmetic that disappears: small integer values are followed as arrays of int | Dim while the graph is built.

Exporters compute shapes with ops: `Concat(Gather(Shape(x), 0), [12, 32])`. `ShapeBuilder` knows the *content* of such values, so
Reshape, Expand, Slice … get symbolic dimensions, and the arithmetic itself leaves no nodes. It is keyed by the ops of the IR, so
the versions of ONNX's operators don't matter here. What cannot be decided for every value of the symbols has no content, and is
computed as data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import dims
from ...ir.builder import Builder
from ...ir.dims import Dim, DimLike, evaluate_dim, nonnegative
from ...ir.dtypes import BOOL, I64, DType
from ...ir.errors import Unsupported
from ...ir.graph import Check, Constant, Extent, Input, Node, Value
from ...ir.op import OPS, Op
from ...ir.ops.assume import Assume
from ...ir.ops.comparison import Where
from ...ir.ops.conversion import Cast
from ...ir.ops.elementwise import Elementwise
from ...ir.ops.generate import DimsValue
from ...ir.ops.movement import Concat, Reshape
from .agreement import agreement, assumed_shape

MAX_CONTENT = 4096  # elements; a longer integer tensor is data, not a shape
Content = np.ndarray  # dtype object: int | Dim | bool


class Region:
    """What a builder makes from now on. The region's extents and checks are taken out of the builder by `close`."""

    def __init__(self, build: ShapeBuilder, nodes: int, extents: int, checks: int) -> None:
        self.build, self.nodes, self.first_extent, self.first_check = build, nodes, extents, checks
        self.extents: list[Extent] = []
        self.checks: list[Check] = []
        build.open_regions += 1

    def close(self) -> None:
        """Ends the region."""
        build = self.build
        build.open_regions -= 1
        self.extents, build._extents[self.first_extent :] = build._extents[self.first_extent :], []
        self.checks, build._checks[self.first_check :] = build._checks[self.first_check :], []

    def owns(self, node: Node) -> bool:
        """Whether a node was made since the region began; what has no operands is anybody's."""
        return self.build._made.get(node, self.nodes) >= self.nodes and not isinstance(node.op, Input)


class ShapeBuilder(Builder):
    """A Builder that follows the content of small integer values and replaces what it knows by constants."""

    def __init__(self, name: str = "model") -> None:
        super().__init__(name)
        self._contents: dict[Value, Content] = {}
        self._made: dict[Node, int] = {}  # nodes with operands, in order
        self.open_regions = 0

    def content(self, value: Value) -> Content | None:
        """The elements of a small integer or bool value as an object array of int | Dim | bool; None where not known."""
        known = self._contents.get(value)
        if known is None and isinstance(value.op, Constant) and countable(value.type.dtype):
            array = value.op.value.array
            if array.size <= MAX_CONTENT:
                known = self._contents[value] = array.astype(object)
        return known

    def extent(self, value: Value, most: DimLike | None = None) -> DimLike:
        content = self.content(value)
        return super().extent(value, most) if content is None else content.item()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("_") and name not in OPS:
            raise Unsupported(f"needs {name}, which is not implemented")
        return super().__getattr__(name)

    def apply(self, op: Op, *operands: Value) -> Any:
        if isinstance(op, (Elementwise, Where)):
            operands = self.agreed(operands)
        elif isinstance(op, Concat):
            operands = self._joined(operands, op.axis)
        made = super().apply(op, *operands)
        if operands:
            self._made[(made[0] if isinstance(made, tuple) else made).node] = len(self._made)
        values = made if isinstance(made, tuple) else (made,)
        contents = self._follow(op, operands, values)
        if contents is None:
            return made
        known = tuple(self.from_content(c, v.type.dtype) for c, v in zip(contents, values))
        return known if isinstance(made, tuple) else known[0]

    def region(self) -> Region:
        """Begins the import of a region: of what is made from now on it can tell what is the region's own."""
        return Region(self, len(self._made), len(self._extents), len(self._checks))

    @property
    def _found(self) -> frozenset[str]:
        return frozenset(e.symbol for e in self.extents)

    def agreed(self, operands: tuple[Value, ...], shape: tuple[DimLike, ...] = ()) -> tuple[Value, ...]:
        """Operands that broadcast (with `shape`), their extents those of `agreement`."""
        shapes = [v.type.shape for v in operands] + [shape]
        if not any(isinstance(d, Dim) for s in shapes for d in s):
            return operands
        wanted = agreement(shapes, self._found)
        return tuple(self.assumed(v, assumed_shape(v.type.shape, wanted)) for v in operands) if wanted else operands

    def _joined(self, operands: tuple[Value, ...], axis: int) -> tuple[Value, ...]:
        """Operands that are concatenated: their extents along the other axes agree."""
        rank = operands[0].type.rank
        if rank == 0 or any(v.type.rank != rank for v in operands):
            return operands
        shapes = [tuple(1 if k == axis % rank else d for k, d in enumerate(v.type.shape)) for v in operands]
        wanted = agreement(shapes, self._found)
        return tuple(self.assumed(v, assumed_shape(v.type.shape, wanted)) for v in operands)

    def assumed(self, value: Value, shape: tuple[DimLike, ...]) -> Value:
        """The value, taken to have this shape."""
        if shape == value.type.shape:
            return value
        assumed: Value = super().apply(Assume(shape), value)
        return assumed

    def from_content(self, content: Content, dtype: DType) -> Value:
        """The value that holds this content: a constant, or one made of the symbols at run time."""
        flat = content.reshape(-1).tolist()
        if all(not isinstance(x, Dim) for x in flat):
            return self.constant(np.array(flat, dtype.numpy).reshape(content.shape))
        value = super().apply(DimsValue(tuple(flat)))
        if content.ndim != 1:
            value = super().apply(Reshape(content.shape), value)
        if dtype is not I64:
            value = super().apply(Cast(dtype), value)
        self._contents[value] = content
        return value

    def _follow(self, op: Op, operands: tuple[Value, ...], results: tuple[Value, ...]) -> list[Content] | None:
        """Contents of the results of an op, if known and small."""
        if isinstance(op, (Constant, Input)) or not all(countable(v.type.dtype) for v in results):
            return None
        if not all(isinstance(d, int) for v in results for d in v.type.shape):
            return None
        if sum(evaluate_dim(v.type.elements, {}) for v in results) > MAX_CONTENT:
            return None
        rule = RULES.get(op.name)
        contents = [self.content(v) for v in operands] if rule else []
        if rule is None or any(c is None for c in contents):
            return None
        found = rule(op, *contents)
        if found is None:
            return None
        arrays = [np.asarray(c, object) for c in (found if isinstance(found, (tuple, list)) else (found,))]
        fits = all(_fits(c, v) for c, v in zip(arrays, results))
        return [c.reshape(v.type.shape) for c, v in zip(arrays, results)] if fits else None


def countable(dtype: DType) -> bool:
    """Whether values of this type can have a content."""
    return dtype.is_integer or dtype is BOOL


def _fits(content: Content, result: Value) -> bool:
    dtype = result.type.dtype
    if content.size != result.type.elements:
        return False
    if dtype is BOOL:
        return all(isinstance(x, (bool, np.bool_)) for x in content.flat)
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0
    high = (1 << (dtype.bits - (dtype.kind == "int"))) - 1
    return all(dims.is_short(x) if isinstance(x, Dim) else low <= x <= high for x in content.flat)


def sign(x: DimLike) -> int | None:
    """-1, 0, 1 if x has that sign for all values of its symbols; None if that is not known."""
    if not isinstance(x, Dim):
        return (x > 0) - (x < 0)
    if nonnegative(x - 1):
        return 1
    return -1 if nonnegative(-1 - x) else None


class _Undecided(Exception):
    """The content depends on the values of the symbols in a way a Dim cannot say."""


def _elementwise(function: Callable[..., Any]) -> Callable[..., Content | None]:
    """A rule from a function of single elements; operands broadcast."""

    def rule(_: Op, *contents: Content) -> Content | None:
        grids = np.broadcast_arrays(*contents)
        out = np.empty(grids[0].shape, object)
        try:
            out.reshape(-1)[:] = [function(*xs) for xs in zip(*(g.reshape(-1).tolist() for g in grids))]
        except (_Undecided, ZeroDivisionError):
            return None
        return out

    return rule


def _compare(holds: Callable[[int], bool]) -> Callable[..., Content | None]:
    def decide(a: DimLike, b: DimLike) -> bool:
        found = sign(a - b) if a is not b else 0
        if found is None:
            raise _Undecided
        return holds(found)

    return _elementwise(decide)


def _equal(a: DimLike, b: DimLike) -> bool:
    found = sign(a - b)
    if found is None:
        raise _Undecided
    return found == 0


def _divide(a: DimLike, b: DimLike) -> DimLike:
    """a / b towards zero: max(a, 0) // b - max(-a, 0) // b, for b > 0."""
    if not isinstance(a, Dim) and not isinstance(b, Dim):
        return (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)
    if sign(b) != 1:
        raise _Undecided
    return a // b if nonnegative(a) else dims.dim_max(a, 0) // b - dims.dim_max(-1 * a, 0) // b


def _modulo(a: DimLike, b: DimLike) -> DimLike:
    if isinstance(b, Dim) and sign(b) != 1:
        raise _Undecided
    return a % b


def _absolute(a: DimLike) -> DimLike:
    return a if nonnegative(a) else dims.dim_max(a, -1 * a)


def _sign_of(a: DimLike) -> int:
    found = sign(a)
    if found is None:
        raise _Undecided
    return found


def _moved(op: Op, *contents: Content) -> Any:
    """Ops that only move elements: their own reference, over objects."""
    return op.reference(*contents)


def _gathered(op: Op, content: Content, positions: Content) -> Any:
    if any(isinstance(p, Dim) for p in positions.flat):
        return None
    return op.reference(content, positions.astype(np.int64))


def _reduce(function: Callable[[Any, Any], Any], start: Any) -> Callable[..., Content]:
    def rule(op: Any, content: Content) -> Content:
        axes = tuple(range(content.ndim)) if op.axes is None else tuple(a % content.ndim for a in op.axes)
        kept = [k for k in range(content.ndim) if k not in axes]
        rows = content.transpose(*kept, *axes).reshape(*(content.shape[k] for k in kept), -1)
        out = np.empty(rows.shape[:-1], object)
        for at in np.ndindex(out.shape):
            total = start
            for x in rows[at].tolist():
                total = x if total is None else function(total, x)
            out[at] = total
        return out

    return rule


def _cast(op: Any, content: Content) -> Content | None:
    if op.to is BOOL:
        return _elementwise(lambda a: not _equal(a, 0))(op, content)
    if content.size and isinstance(content.flat[0], (bool, np.bool_)):
        return _elementwise(int)(op, content)
    return content


RULES: dict[str, Callable[..., Any]] = {
    "dims_value": lambda op: np.array(op.dims, object),
    "cast": _cast,
    "add": _elementwise(lambda a, b: a + b),
    "sub": _elementwise(lambda a, b: a - b),
    "mul": _elementwise(lambda a, b: a * b),
    "div": _elementwise(_divide),
    "mod": _elementwise(_modulo),
    "neg": _elementwise(lambda a: a * -1),
    "abs": _elementwise(_absolute),
    "sign": _elementwise(_sign_of),
    "max": _elementwise(dims.dim_max),
    "min": _elementwise(dims.dim_min),
    "equal": _elementwise(_equal),
    "less": _compare(lambda s: s < 0),
    "less_or_equal": _compare(lambda s: s <= 0),
    "greater": _compare(lambda s: s > 0),
    "greater_or_equal": _compare(lambda s: s >= 0),
    "and": _elementwise(lambda a, b: a and b),
    "or": _elementwise(lambda a, b: a or b),
    "xor": _elementwise(lambda a, b: a != b),
    "not": _elementwise(lambda a: not a),
    "full": lambda op, c: np.full(op.shape, c.reshape(-1)[0], object),
    "gather": _gathered,
    "true_places": lambda op, content: op.reference(content.astype(bool)),
    "where": _elementwise(lambda c, a, b: a if c else b),
    "reduce_sum": _reduce(lambda a, b: a + b, 0),
    "reduce_prod": _reduce(lambda a, b: a * b, 1),
    "reduce_max": _reduce(dims.dim_max, None),
    "reduce_min": _reduce(dims.dim_min, None),
}
for _name in ("concat", "slice", "split", "reshape", "transpose", "squeeze", "unsqueeze", "expand", "tile", "flatten"):
    RULES[_name] = _moved
