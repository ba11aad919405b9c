"""What exporters make of attention is recognised: batch axes regrouped for a mask, casts around the softmax, three axes only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.native import build_executable
from tgen.ir.builder import Builder
from tgen.ir.dims import DimLike, symbol
from tgen.ir.dtypes import F16, F32, F64
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph, Value
from tgen.ir.ops.attend import Attend
from tgen.passes.attention import attention

HEADS, DEPTH, WIDTH = 3, 8, 5
BATCH, ROWS, COLUMNS = symbol("b"), symbol("s"), symbol("t")
Model = Callable[[Builder, Value, Value, Value], Value]


def split(b: Builder, x: Value) -> Value:
    """[b·h, s, t] → [b, h, s, t]"""
    return b.reshape(x, shape=(BATCH, HEADS, *x.type.shape[1:]))


def join(b: Builder, x: Value) -> Value:
    """[b, h, s, t] → [b·h, s, t]"""
    return b.reshape(x, shape=(BATCH * HEADS, *x.type.shape[2:]))


def mask(b: Builder, dtype: str = "f32") -> Value:
    return b.input("mask", dtype, ("b", 1, "s", "t"))


def scores(b: Builder, q: Value, k: Value) -> Value:
    return b.mul(b.matmul(q, b.transpose(k, perm=(0, 2, 1))), DEPTH**-0.5)


def three_axes(b: Builder, q: Value, k: Value, v: Value) -> Value:
    return b.matmul(b.softmax(scores(b, q, k), axis=-1), v)


def mask_between_reshapes(b: Builder, q: Value, k: Value, v: Value) -> Value:
    masked = b.add(split(b, scores(b, q, k)), mask(b))
    return b.matmul(b.softmax(join(b, b.max(masked, -1e4)), axis=-1), v)


def softmax_between_reshapes(b: Builder, q: Value, k: Value, v: Value) -> Value:
    """A bias of each head before, a mask of each entry after the reshape."""
    biased = b.add(scores(b, q, k), b.input("bias", "f32", (BATCH * HEADS, 1, "t")))
    weights = b.softmax(b.where(mask(b, "bool"), split(b, biased), -1e4), axis=3)
    return b.matmul(join(b, weights), v)


def four_axes_after_three(b: Builder, q: Value, k: Value, v: Value) -> Value:
    weights = b.softmax(b.add(split(b, scores(b, q, k)), mask(b)), axis=-1)
    return b.matmul(weights, split(b, v))


def positions_between_reshapes(b: Builder, q: Value, k: Value, v: Value) -> Value:
    """A body that asks where it stands, on axes that are two others in the end."""
    return b.matmul(b.softmax(join(b, b.trilu(split(b, scores(b, q, k)), k=1)), axis=-1), v)


def an_axis_more(b: Builder, q: Value, k: Value, v: Value) -> Value:
    five = b.add(b.unsqueeze(split(b, scores(b, q, k)), axes=(2,)), b.input("mask", "f32", ("b", 1, 1, 1, "t")))
    return b.matmul(join(b, b.squeeze(b.softmax(five, axis=-1), axes=(2,))), v)


def without_nan(b: Builder, q: Value, k: Value, v: Value) -> Value:
    weights = b.softmax(b.add(split(b, scores(b, q, k)), mask(b)), axis=-1)
    return b.matmul(join(b, b.where(b.is_nan(weights), 0.0, weights)), v)


def softmax_in_float32(b: Builder, q: Value, k: Value, v: Value) -> Value:
    wide = b.add(b.cast(split(b, scores(b, q, k)), to=F32), mask(b))
    return b.matmul(join(b, b.identity(b.cast(b.softmax(wide, axis=-1), to=v.type.dtype))), v)


FOUND = [
    three_axes,
    mask_between_reshapes,
    softmax_between_reshapes,
    four_axes_after_three,
    positions_between_reshapes,
    an_axis_more,
    without_nan,
    softmax_in_float32,
]


def rows_regrouped(b: Builder, q: Value, k: Value, v: Value) -> Value:
    """Heads join the queries, so that a row is another one."""
    rows: tuple[DimLike, ...] = (BATCH, HEADS * ROWS, COLUMNS)
    added = b.add(b.reshape(scores(b, q, k), shape=rows), b.input("mask", "f32", (HEADS * ROWS, "t")))
    return b.matmul(b.reshape(b.softmax(added, axis=-1), shape=(BATCH * HEADS, ROWS, COLUMNS)), v)


def softmax_in_float64(b: Builder, q: Value, k: Value, v: Value) -> Value:
    return b.matmul(b.cast(b.softmax(b.cast(scores(b, q, k), to=F64), axis=-1), to=v.type.dtype), v)


def values_in_float16(b: Builder, q: Value, k: Value, v: Value) -> Value:
    return b.matmul(b.cast(b.softmax(scores(b, q, k), axis=-1), to=F16), b.cast(v, to=F16))


def keys_shared_before_a_reshape(b: Builder, q: Value, k: Value, v: Value) -> Value:
    one = b.slice(k, axes=(0,), starts=(0,), sizes=(1,), steps=(1,))
    return b.matmul(b.softmax(b.add(split(b, scores(b, q, one)), mask(b)), axis=-1), split(b, v))


def weights_read_twice(b: Builder, q: Value, k: Value, v: Value) -> Value:
    weights = b.softmax(split(b, scores(b, q, k)), axis=-1)
    b.output("weights", b.reduce_max(weights, axes=(0,), keepdims=False))
    return b.matmul(join(b, weights), v)


LEFT = [rows_regrouped, softmax_in_float64, values_in_float16, keys_shared_before_a_reshape, weights_read_twice]


def graph_of(model: Model, dtype: str = "f32") -> Graph:
    b = Builder()
    shapes = {"q": ("b", HEADS, "s", DEPTH), "k": ("b", HEADS, "t", DEPTH), "v": ("b", HEADS, "t", WIDTH)}
    b.output("y", model(b, *(join(b, b.input(name, dtype, shape)) for name, shape in shapes.items())))
    return b.build()


def feeds(graph: Graph, rng: np.random.Generator, batch: int, rows: int, columns: int) -> dict[str, np.ndarray]:
    out = {}
    for node in graph.inputs:
        type_ = node.types[0].substitute({"b": batch, "s": rows, "t": columns})
        numbers = rng.standard_normal([int(d) for d in type_.shape])  # type: ignore[call-overload]
        out[node.op.label] = numbers > 0 if type_.dtype.kind == "bool" else numbers.astype(type_.dtype.numpy)  # type: ignore[attr-defined]
    return out


def attends(graph: Graph) -> int:
    return sum(isinstance(n.op, Attend) for n in attention(graph).nodes)


@pytest.mark.parametrize("model,dtype", [*((m, "f32") for m in FOUND), (three_axes, "f16"), (softmax_in_float32, "f16")])
def test_found(model: Model, dtype: str, rng: np.random.Generator) -> None:
    graph = graph_of(model, dtype)
    assert attends(graph) == 1
    executable = build_executable(graph)
    for size in [(2, 5, 7), (1, 1, 1), (3, 20, 40)]:
        f = feeds(graph, rng, *size)
        want = evaluate(graph, f)["y"]
        rtol, atol = (0, rounding_of_scores(f)) if dtype == "f16" else (2e-5, 2e-6)
        np.testing.assert_allclose(evaluate(attention(graph), f)["y"], want, rtol=rtol, atol=atol)
        np.testing.assert_allclose(executable.run(f)["y"], want, rtol=rtol, atol=atol)


def rounding_of_scores(f: dict[str, np.ndarray]) -> float:
    """What two ways of rounding scores s and weights to float16 can differ by: weights by a factor of 1 ± 2⁻¹¹·(|s| + 1), each way."""
    q, k = (f[name].astype(np.float64) for name in "qk")
    largest = np.abs(q @ np.swapaxes(k, -1, -2)).max() * DEPTH**-0.5
    return float(2 * 2**-11 * (largest + 1) * np.abs(f["v"]).max())


@pytest.mark.parametrize("model", LEFT, ids=lambda m: m.__name__)
def test_left_alone(model: Model) -> None:
    assert attends(graph_of(model)) == 0


def test_a_product_serves_one_attention(rng: np.random.Generator) -> None:
    """softmax(softmax(softmax(x·w)·w)·w): what is the weighted sum of one would be the scores of the next."""
    b = Builder()
    x, w = b.input("x", "f32", ("n", 8)), b.input("w", "f32", (8, 8))
    y = x
    for _ in range(4):
        y = b.softmax(b.matmul(y, w), axis=-1)
    b.output("y", y)
    graph = b.build()
    f = {"x": rng.standard_normal((5, 8), dtype=np.float32), "w": rng.standard_normal((8, 8), dtype=np.float32)}
    assert attends(graph) >= 1
    np.testing.assert_allclose(build_executable(graph).run(f)["y"], evaluate(graph, f)["y"], rtol=1e-5, atol=1e-6)
