"""Random small graphs over many operators, with symbolic dimensions: a Hypothesis strategy, and inputs to run them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tgen.ir import dtypes
from tgen.ir.builder import Builder
from tgen.ir.dims import evaluate_dim, product, symbol
from tgen.ir.graph import Graph, Value

BATCH, SEQ = symbol("batch"), symbol("seq")
SHAPES = ((), (4,), (BATCH, 4), (1, 4), (BATCH, 1), (BATCH, SEQ, 4), (2, 1, 4), (1, SEQ, 1))
SMOOTH = ("relu", "tanh", "sigmoid", "abs", "neg", "floor", "round", "sign", "gelu", "softplus", "erf")
BINARY = ("add", "sub", "mul", "max", "min")
COMPARE = ("less", "greater_or_equal", "equal")
REDUCE = ("reduce_sum", "reduce_max", "reduce_min", "reduce_mean", "reduce_sum_square")
NUMBERS = (0.0, -0.0, 1.0, 2.0, -1.0, 0.5, 8.0, 3.0)
CASTS = ("f64", "f32", "f16", "bf16", "i32", "i8", "u8", "bool")

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def graphs(draw: Draw, largest: int = 12) -> Graph:
    """Graphs of 1 to 3 inputs (the first binds all symbols) and up to `largest` steps; every value nobody reads is an output."""
    b = Builder(draw(st.sampled_from(("model", "a/b"))))
    values = [b.input("x0", "f32", (BATCH, SEQ, 4))]
    values += [b.input(f"x{k}", "f32", draw(st.sampled_from(SHAPES))) for k in range(1, draw(st.integers(1, 3)))]
    for k in range(draw(st.integers(1, largest))):
        step = draw(st.sampled_from(STEPS))
        with b.origin(draw(st.sampled_from(("", f"layer.{k}")))):
            made = step(draw, b, draw(st.sampled_from(values)), values)
        values += made if isinstance(made, tuple) else (made,)
    read = {v for value in values for v in value.node.inputs}
    for k, value in enumerate(v for v in values if v not in read):
        b.output(f"y{k}", value)
    return b.build()


def feeds(graph: Graph, seed: int = 0, **sizes: int) -> dict[str, np.ndarray]:
    """An array for each input. sizes: values for symbols (default: batch 3, seq 5)."""
    rng = np.random.default_rng(seed)
    extents = {"batch": 3, "seq": 5, **sizes}
    made = {}
    for node in graph.inputs:
        kind = node.types[0]
        shape = [evaluate_dim(d, extents) for d in kind.shape]
        made[node.op.label] = (rng.standard_normal(shape) * 2).astype(kind.dtype.numpy)  # type: ignore[attr-defined]
    return made


def assert_same(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], rtol: float = 0.0, what: str = "") -> None:
    """Equal outputs: dtypes and shapes exactly, values within rtol (0: the same, NaN equals NaN, -0.0 equals -0.0 only)."""
    assert got.keys() == wanted.keys()
    for name, x in got.items():
        y = wanted[name]
        assert x.dtype == y.dtype and x.shape == y.shape, f"{what} {name}"
        if rtol and x.dtype.kind not in "iub":
            np.testing.assert_allclose(x.astype(np.float64), y.astype(np.float64), rtol=rtol, atol=rtol, err_msg=f"{what} {name}")
            continue
        np.testing.assert_array_equal(x, y, err_msg=f"{what} {name}")
        if x.dtype.kind not in "iub":
            number = ~np.isnan(x)
            np.testing.assert_array_equal(np.signbit(x[number]), np.signbit(y[number]), err_msg=f"{what} {name}: sign of zero")


def _float(b: Builder, x: Value) -> Value:
    """x as float32."""
    return x if x.type.dtype is dtypes.F32 else b.cast(x, to=dtypes.F32)


def _smooth(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    value: Value = getattr(b, draw(st.sampled_from(SMOOTH)))(_float(b, x))
    return value


def _again(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    """The same op twice."""
    op = getattr(b, draw(st.sampled_from(("neg", "abs", "relu", "floor"))))
    return op(op(_float(b, x)))  # type: ignore[no-any-return]


def _number(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    """With a constant, on either side, maybe as an array."""
    x, number = _float(b, x), draw(st.sampled_from(NUMBERS))
    op = draw(st.sampled_from(("add", "sub", "mul", "div", "max")))
    constant = b.constant(np.full(draw(st.sampled_from(((), (1,)))), number), dtypes.F32)
    pair = (x, constant) if draw(st.booleans()) or op == "div" else (constant, x)
    return getattr(b, op)(*pair)  # type: ignore[no-any-return]


def _power(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    return b.pow(_float(b, x), draw(st.sampled_from((1.0, 2.0, 3.0, -1.0, 0.5))))  # type: ignore[no-any-return]


def _binary(draw: Draw, b: Builder, x: Value, values: list[Value]) -> Value:
    x = _float(b, x)
    y = _float(b, draw(st.sampled_from([v for v in values if _fits(x, v)])))
    return getattr(b, draw(st.sampled_from(BINARY)))(x, y)  # type: ignore[no-any-return]


def _fits(x: Value, y: Value) -> bool:
    pairs = zip(reversed(x.type.shape), reversed(y.type.shape))
    return all(a == b or 1 in (a, b) for a, b in pairs)


def _where(draw: Draw, b: Builder, x: Value, values: list[Value]) -> Value:
    x = _float(b, x)
    y = _float(b, draw(st.sampled_from([v for v in values if _fits(x, v)])))
    known = draw(st.sampled_from((None, True, False)))
    condition = getattr(b, draw(st.sampled_from(COMPARE)))(x, y) if known is None else b.constant(known)
    return b.where(condition, x, y)  # type: ignore[no-any-return]


def _cast(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    for name in draw(st.lists(st.sampled_from(CASTS), min_size=1, max_size=3)):
        x = b.cast(x, to=dtypes.DTYPES[name])
    return x


def _transpose(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    return b.transpose(x, perm=tuple(draw(st.permutations(range(x.type.rank)))))  # type: ignore[no-any-return]


def _reshape(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    """Flat, cut at some axis, or with ones in between."""
    shape = x.type.shape
    cut = draw(st.integers(0, len(shape)))
    shapes = (
        (product(shape),),
        (product(shape[:cut]), *shape[cut:]),
        (*shape[:cut], 1, *shape[cut:]),
        tuple(d for d in shape if d != 1),
    )
    return b.reshape(x, shape=draw(st.sampled_from(shapes)))  # type: ignore[no-any-return]


def _ones(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    ones = tuple(k for k, d in enumerate(x.type.shape) if d == 1)
    if ones and draw(st.booleans()):
        return b.squeeze(x, axes=ones[:1])  # type: ignore[no-any-return]
    return b.unsqueeze(x, axes=(draw(st.integers(0, x.type.rank)),))  # type: ignore[no-any-return]


def _expand(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    wide = tuple(draw(st.sampled_from((2, SEQ))) if d == 1 else d for d in x.type.shape)
    return b.expand(x, shape=draw(st.sampled_from((wide, (2, *wide)))))  # type: ignore[no-any-return]


def _slice(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    axes = [k for k, d in enumerate(x.type.shape) if isinstance(d, int) and d > 0]
    if not axes:
        return x
    axis = draw(st.sampled_from(axes))
    extent = x.type.shape[axis]
    start = draw(st.integers(0, extent - 1))  # type: ignore[operator]
    size = draw(st.sampled_from((1, extent - start)))  # type: ignore[operator]
    return b.slice(x, axes=(axis,), starts=(start,), sizes=(size,), steps=(1,))  # type: ignore[no-any-return]


def _concat(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    if not x.type.rank:
        return x
    parts = [x] * draw(st.integers(1, 2))
    return b.concat(*parts, axis=draw(st.integers(0, x.type.rank - 1)))  # type: ignore[no-any-return]


def _split(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Any:
    if not x.type.rank or x.type.shape[-1] != 4:
        return x
    return b.split(x, axis=-1, sizes=draw(st.sampled_from(((1, 3), (4,), (2, 1, 1)))))


def _reduce(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    axes = draw(st.sampled_from((None, (), *((k,) for k in range(x.type.rank)))))
    return getattr(b, draw(st.sampled_from(REDUCE)))(_float(b, x), axes=axes, keepdims=draw(st.booleans()))  # type: ignore[no-any-return]


def _softmax(draw: Draw, b: Builder, x: Value, _: list[Value]) -> Value:
    return b.softmax(_float(b, x), axis=-1) if x.type.rank else x  # type: ignore[no-any-return]


def _matmul(draw: Draw, b: Builder, x: Value, values: list[Value]) -> Value:
    """With a constant, transposed maybe, or with itself transposed."""
    x = _float(b, x)
    if not x.type.rank:
        return x
    if x.type.rank > 1 and draw(st.booleans()):
        order = list(range(x.type.rank))
        return b.matmul(x, b.transpose(x, perm=(*order[:-2], order[-1], order[-2])))  # type: ignore[no-any-return]
    k = x.type.shape[-1]
    if not isinstance(k, int):
        return x
    shape = draw(st.sampled_from(((k,), (k, 3), (2, k, 2) if x.type.rank <= 2 else (k, 2))))
    weight = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    if len(shape) == 2 and draw(st.booleans()):
        return b.matmul(x, b.transpose(b.constant(np.ascontiguousarray(weight.T)), perm=(1, 0)))  # type: ignore[no-any-return]
    return b.matmul(x, weight)  # type: ignore[no-any-return]


STEPS = (_smooth, _again, _number, _number, _power, _binary, _binary, _where, _cast, _transpose, _reshape, _ones)
STEPS += (_expand, _slice, _concat, _split, _reduce, _softmax, _matmul)
