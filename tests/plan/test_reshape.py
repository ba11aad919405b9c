"""Reshape as a view agrees with NumPy's own rule, and never gives wrong strides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.native import build_executable, host
from tgen.compiler import compile_graph
from tgen.ir.builder import Builder
from tgen.ir.dims import symbol
from tgen.ir.evaluate import evaluate
from tgen.ir.graph import Value
from tgen.plan.reshape import reshaped

B, S = symbol("batch"), symbol("seq")


@pytest.mark.parametrize(
    "shape,strides,new,want",
    [
        ((2, 3, 4), (12, 4, 1), (6, 4), (4, 1)),
        ((2, 3, 4), (12, 4, 1), (2, 12), (12, 1)),
        ((2, 3, 4), (4, 8, 1), (6, 4), None),
        ((6, 4), (4, 1), (2, 3, 4), (12, 4, 1)),
        ((6, 4), (40, 1), (2, 3, 2, 2), (120, 40, 2, 1)),
        ((B, S, 384), (S * 384, 384, 1), (B, S, 12, 32), (S * 384, 384, 32, 1)),
        ((B, S, 12, 32), (S * 384, 384, 32, 1), (B, S, 384), (S * 384, 384, 1)),
        ((B, S, 12, 32), (S * 384, 384, 32, 1), (B * S, 384), (384, 1)),
        ((B * S, 384), (384, 1), (B, S, 384), (S * 384, 384, 1)),
        ((B, 12, S, 32), (S * 384, 32, 384, 1), (B, S, 384), None),
        ((1, 5, 1), (5, 1, 1), (5,), (1,)),
    ],
)
def test_strides(shape, strides, new, want) -> None:
    assert reshaped(shape, strides, new) == want


def test_against_numpy(rng) -> None:
    """Where a view is possible NumPy finds it too, with the same elements."""
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for perm in ((0, 1, 2, 3), (1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        view = x.transpose(perm)
        for new in ((6, 20), (120,), (2, 3, 20), (24, 5), (4, 5, 6), (2, 60), (3, 2, 4, 5), (20, 6)):
            strides = reshaped(view.shape, [s // x.itemsize for s in view.strides], new)
            if strides is not None:
                got = np.lib.stride_tricks.as_strided(view, new, [s * x.itemsize for s in strides])
                assert np.array_equal(got, view.reshape(new))


def _flat_softmax(b: Builder, x: Value) -> Value:
    return b.reshape(b.softmax(b.reshape(x, shape=(2 * symbol("n"), 20)), axis=-1), shape=(2, symbol("n"), 20))


def _turned(b: Builder, x: Value) -> Value:
    return b.reshape(b.transpose(b.tanh(x), perm=(1, 0, 2)), shape=(symbol("n"), 40))


def _joined(b: Builder, x: Value) -> Value:
    return b.concat(_flat_softmax(b, x), b.tanh(x), axis=0)


def _nested(b: Builder, x: Value) -> Value:
    """Of a join in a join, one part is reshaped twice."""
    twice = b.reshape(b.reshape(b.tanh(x), shape=(symbol("n"), 2, 20)), shape=(2 * symbol("n"), 20))
    return b.concat(
        b.concat(twice, b.exp(b.reshape(x, shape=(2 * symbol("n"), 20))), axis=0), b.constant(np.ones((1, 20), np.float32)), axis=0
    )


@pytest.mark.parametrize("make,steps", [(_flat_softmax, 1), (_turned, 1), (_joined, 2), (_nested, 3)])
def test_results_are_written_where_they_belong(
    make: Callable[[Builder, Value], Value], steps: int, rng: np.random.Generator
) -> None:
    """A kernel for each value that is computed, and a copy of the constant: none of what is merely reshaped."""
    b = Builder()
    b.output("y", make(b, b.input("x", "f32", (2, "n", 20))))
    graph = b.build()
    compiled = compile_graph(graph, host(), "highest")
    assert len(compiled.plan.steps) == steps
    for n in (1, 7):
        given = {"x": rng.standard_normal((2, n, 20)).astype(np.float32)}
        np.testing.assert_allclose(build_executable(graph).run(given)["y"], evaluate(graph, given)["y"], rtol=1e-6, atol=1e-7)
