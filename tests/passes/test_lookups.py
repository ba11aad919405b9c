"""lookups: products with one-hot rows, and what is done to chosen rows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native import build_executable
from tgen.ir.builder import Builder
from tgen.ir.dtypes import F32, I64
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Graph
from tgen.ir.ops.contraction import MatMul
from tgen.ir.ops.gather import Gather
from tgen.ir.verify import verify
from tgen.passes.lookups import LARGEST, lookups


def one_hot(numbers: np.ndarray, weights: np.ndarray, dtype: str = "i32", swapped: bool = False) -> Graph:
    """gelu((x = numbers)·w + b)·3, and the sum without gelu."""
    b = Builder()
    x = b.unsqueeze(b.input("x", dtype, ("n", 9)), axes=(2,))
    known = b.constant(numbers.reshape(1, 1, -1).astype(x.type.dtype.numpy))
    same = b.equal(known, x) if swapped else b.equal(x, known)
    row = np.linspace(-1, 1, weights.shape[1], dtype=np.float32)
    total = b.add(b.matmul(b.cast(same, to=F32), b.constant(weights)), b.constant(row))
    b.output("y", b.mul(b.gelu(total), 3.0))
    b.output("total", total)
    return b.build()


@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize("dtype", ["i32", "i64", "u8"])
def test_one_hot_rows_choose(dtype, swapped, rng) -> None:
    """Places outside of the table give zeros, to which all is done that is done to others."""
    graph = one_hot(np.arange(20), rng.standard_normal((20, 7), np.float32), dtype, swapped)
    after = lookups(graph)
    verify(after)
    assert not any(isinstance(n.op, MatMul) for n in after.nodes)
    assert {type(after.outputs[k][1].op) for k in (0, 1)} == {Gather} and lookups(after) is after
    x = rng.integers(0 if dtype == "u8" else -5, 30, (4, 9)).astype(graph.input_types["x"].dtype.numpy)
    want = evaluate(graph, {"x": x})
    for found in (evaluate(after, {"x": x}), build_executable(graph).run({"x": x})):
        for name, array in want.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


OTHERS = {
    "other numbers": one_hot(np.arange(20) + 1, np.ones((20, 7), np.float32)),
    "an infinite weight": one_hot(np.arange(20), np.full((20, 7), np.inf, np.float32)),
    "numbers twice": one_hot(np.r_[0:10, 0:10], np.ones((20, 7), np.float32)),
}


@pytest.mark.parametrize("graph", OTHERS.values(), ids=OTHERS)
def test_others_multiply(graph: Graph) -> None:
    assert lookups(graph) is graph


def chosen(rows: int, other: tuple[int, ...], twice: bool = False) -> Graph:
    b = Builder()
    table = b.constant(np.ones((rows, 8), np.float32))
    i, j = b.input("i", I64, ("n", 3)), b.input("j", I64, ("n", 3))
    b.output(
        "y", b.add(b.gather(table, i, axis=0), b.gather(table, j, axis=0) if twice else b.constant(np.ones(other, np.float32)))
    )
    return b.build()


@pytest.mark.parametrize(
    "graph", [chosen(4, (3, 8)), chosen(4, (), twice=True), chosen(LARGEST, ())], ids=["by place", "two places", "a large table"]
)
def test_what_is_not_the_same_for_all_places_stays(graph: Graph) -> None:
    assert lookups(graph) is graph


@pytest.mark.parametrize("other", [(), (8,), (1, 8), (1, 1, 1), (1,)])
def test_what_is_the_same_goes_into_the_table(other) -> None:
    assert isinstance(lookups(chosen(4, other)).outputs[0][1].op, Gather)
